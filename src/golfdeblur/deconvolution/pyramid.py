"""Read a kernel from the blurry picture alone, from coarse to fine, as the blind methods of 2011 to 2016 all do.

At each size the picture's sharp edges are guessed with the last kernel, and the kernel is read from them again; so it
grows from a few pixels to its whole size. What differs between the methods is how they guess the edges: here few edges,
and those steep. Source: Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image deblurring" (CVPR 2013);
the constants are of the programs that Pan, Hu, Su and Yang published with their papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from golfdeblur.deconvolution import estimation, fourier
from golfdeblur.deconvolution.data_term import DataTerm
from golfdeblur.deconvolution.estimation import Window

SHRINKING = 2**-0.5
COARSEST_PX = 5
"""The kernel's side at the smallest size, at least."""

WEIGHT, LESS, LEAST_WEIGHT = 4e-3, 1.1, 1e-4
"""Of the L0 prior, at first; it is divided by LESS after every round."""


@dataclass(frozen=True)
class Effort:
    """Rounds at each size, and by how much and how far the penalty grows that couples the gradients to those kept."""

    rounds: int
    growth: float
    end: float


QUICK, FINE = Effort(3, 2.8, 1e3), Effort(5, 2.0, 1e5)
"""FINE, as the source has it, takes 2.7 times as long and finds 0.2 dB more (research/2026-12.md)."""

Edges = Sequence[np.ndarray]
"""Differences to the next column and to the next row, (H, W) each."""

Guess = Callable[[Window, np.ndarray, Edges, int], Edges]
"""The sharp edges by the window, the kernel, the last edges and the number of the round."""


def blind_taps(y: np.ndarray, side: int, effort: Effort = QUICK) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1], by steep edges: (side, side) of sum 1; `side` is odd."""

    def steep(window: Window, taps: np.ndarray, edges: Edges, done: int) -> Edges:
        term = DataTerm(window.y, taps, margin=window.side)
        return trusted(window, flattened(term, weight(done), growth=effort.growth, end=effort.end))

    return read_taps(y, side, steep, rounds=effort.rounds)


def read_taps(y: np.ndarray, side: int, guess: Guess, *, rounds: int) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1]: (side, side) of sum 1, its light in the middle; `side` is odd."""
    taps = np.array([[0.5, 0.5]])
    edges: Edges = ()
    done = 0
    for scale in _scales(side):
        small = _resized(y, [max(1, round(n * scale)) for n in y.shape])
        taps = _grown(taps, math.ceil(side * scale) // 2 * 2 + 1)
        window = Window.of(small, len(taps))
        edges = window.edges(window.wrapped) if not done else _enlarged(edges, window)
        for _ in range(rounds):
            edges = guess(window, taps, edges, done)
            taps = _centred(estimation.tidied(estimation.least_squares(window, edges)))
            done += 1
    return taps


def weight(done: int) -> float:
    """Return the weight of the prior after so many rounds."""
    return max(WEIGHT / LESS**done, LEAST_WEIGHT)


def trusted(window: Window, x: np.ndarray) -> Edges:
    """Return the edges of a wrapped plane that are strong enough to be trusted."""
    return estimation.strong(window.edges(x), estimation.EDGES_PER_PX * window.side)


def flattened(
    term: DataTerm,
    weight: float,
    *,
    near: np.ndarray | None = None,
    pull: float = 0,
    growth: float,
    end: float,
) -> np.ndarray:
    """Return argmin |k * z - y|^2 + `weight` |grad z|_0 + `pull` |z - near|^2, a wrapped plane."""
    laplacian, z, penalty = fourier.gradient_power(term.wrapped_shape), term.y, 2 * weight
    pulled_near = 0 if near is None else np.float32(pull) * fourier.transform(near)
    while penalty < end:
        across, down = fourier.gradient(z)
        kept = across**2 + down**2 >= weight / penalty
        pulled = np.float32(penalty) * fourier.transform(fourier.gradient_adjoint(across * kept, down * kept))
        z = term.solve(np.float32(penalty) * laplacian + np.float32(pull), pulled + pulled_near)
        penalty *= growth
    return z


def _scales(side: int) -> Iterator[float]:
    count = max(0, math.floor(math.log(COARSEST_PX / side) / math.log(SHRINKING)))
    yield from (SHRINKING**power for power in range(count, -1, -1))


def _resized(plane: np.ndarray, shape: Sequence[int], how: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(np.asarray(plane, np.float32)).resize((width, height), how))


def _enlarged(edges: Edges, window: Window) -> Edges:
    """Bring the edges of the size before to the window's."""
    return [_resized(edge, window.wrapped.shape, Image.Resampling.BILINEAR) * window.inside for edge in edges]


def _grown(taps: np.ndarray, side: int) -> np.ndarray:
    """Enlarge the kernel of the size before; the first, of two taps, lies in the middle."""
    if taps.shape[0] > 1:
        return _centred(estimation.tidied(_resized(taps, (side, side), Image.Resampling.BILINEAR)))
    out = np.zeros((side, side), np.float32)
    out[side // 2, side // 2 : side // 2 + 2] = 0.5
    return estimation.tidied(out)


def _centred(taps: np.ndarray) -> np.ndarray:
    """Move the middle of the light to the middle pixel, by whole pixels."""
    places = np.arange(len(taps)) - len(taps) // 2
    return np.roll(taps, [-round(float(taps.sum(axis) @ places)) for axis in (1, 0)], (0, 1))
