"""Read a kernel from the blurry picture alone, from coarse to fine, as the blind methods of 2011 to 2016 all do.

At each size the picture's sharp edges are guessed with the last kernel, and the kernel is read from them again; so it
grows from a few pixels to its whole size. What differs between the methods is how they guess the edges.
Constants: the programs that Pan, Hu, Su and Yang published with their papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from golfdeblur.deconvolution import estimation
from golfdeblur.deconvolution.estimation import _Window as Window

SHRINKING = 2**-0.5
COARSEST_PX = 5
"""The kernel's side at the smallest size, at least."""

Edges = Sequence[np.ndarray]
"""Differences to the next column and to the next row, (H, W) each."""

Guess = Callable[[Window, np.ndarray, Edges, int], Edges]
"""The sharp edges by the window, the kernel, the last edges and the number of the round."""


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
            taps = _centred(estimation.tidied(estimation._least_squares(window, edges)))
            done += 1
    return taps


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
