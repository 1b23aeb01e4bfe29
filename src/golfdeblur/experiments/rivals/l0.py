"""Few edges, and those steep: an L0 prior on the gradients guides the kernel.

Source: Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image deblurring" (CVPR 2013). After it, not it:
the L0 norm is split in half-quadratic steps instead of their family of functions, and the weights are those of Pan,
Hu, Su, Yang, "Deblurring text images via L0-regularized intensity and gradient prior" (CVPR 2014).
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import estimation, fourier
from golfdeblur.deconvolution.data_term import DataTerm
from golfdeblur.experiments.rivals import pyramid

ROUNDS = 5
WEIGHT, LESS, LEAST_WEIGHT = 4e-3, 1.1, 1e-4
GROWTH, END = 2.0, 1e5


def read_taps(y: np.ndarray, side: int) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1]: (side, side) of sum 1; `side` is odd."""
    return pyramid.read_taps(y, side, _guess, rounds=ROUNDS)


def _guess(window: pyramid.Window, taps: np.ndarray, edges: pyramid.Edges, done: int) -> pyramid.Edges:
    term = DataTerm(window.y, taps, margin=window.side)
    return trusted(window, flattened(term, weight(done)))


def weight(done: int) -> float:
    """Return the weight of the prior after so many rounds."""
    return max(WEIGHT / LESS**done, LEAST_WEIGHT)


def trusted(window: pyramid.Window, x: np.ndarray) -> pyramid.Edges:
    """Return the edges of a wrapped plane that are strong enough to be trusted."""
    return estimation._strong(window.edges(x), estimation.EDGES_PER_PX * window.side, None)[0]


def flattened(
    term: DataTerm, weight: float, *, near: np.ndarray | None = None, pull: float = 0, growth: float = GROWTH
) -> np.ndarray:
    """Return argmin |k * z - y|^2 + `weight` |grad z|_0 + `pull` |z - near|^2, a wrapped plane."""
    laplacian, z, penalty = fourier.gradient_power(term.wrapped_shape), term.y, 2 * weight
    pulled_near = 0 if near is None else np.float32(pull) * fourier.transform(near)
    while penalty < END:
        across, down = fourier.gradient(z)
        kept = across**2 + down**2 >= weight / penalty
        pulled = np.float32(penalty) * fourier.transform(fourier.gradient_adjoint(across * kept, down * kept))
        z = term.solve(np.float32(penalty) * laplacian + np.float32(pull), pulled + pulled_near)
        penalty *= growth
    return z
