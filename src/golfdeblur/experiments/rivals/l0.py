"""Few edges, and those steep: an L0 prior on the gradients guides the kernel (`deconvolution.pyramid`), step by step.

Source: Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image deblurring" (CVPR 2013). After it, not it:
the L0 norm is split in half-quadratic steps instead of their family of functions, and the weights are those of Pan,
Hu, Su, Yang, "Deblurring text images via L0-regularized intensity and gradient prior" (CVPR 2014).
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import pyramid
from golfdeblur.deconvolution.data_term import DataTerm

ROUNDS = 5
GROWTH, END = 2.0, 1e5


def read_taps(y: np.ndarray, side: int) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1]: (side, side) of sum 1; `side` is odd."""
    return pyramid.read_taps(y, side, _guess, rounds=ROUNDS)


def _guess(window: pyramid.Window, taps: np.ndarray, edges: pyramid.Edges, done: int) -> pyramid.Edges:
    term = DataTerm(window.y, taps, margin=window.side)
    return pyramid.trusted(window, pyramid.flattened(term, pyramid.weight(done), growth=GROWTH, end=END))
