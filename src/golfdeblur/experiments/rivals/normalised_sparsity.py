"""Blur makes gradients sparse by their sum, but not by their sum over their length: |x|_1 / |x|_2 is least when sharp.

Source: Krishnan, Tay, Fergus, "Blind deconvolution using a normalized sparsity measure" (CVPR 2011), with its weights
and numbers of steps. After it, not it: the kernel's own prior is a ridge and small taps are cut off, as in the other
methods here, where theirs is |k|_1.
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import fourier, pyramid
from golfdeblur.deconvolution.data_term import soft_threshold

ROUNDS, OUTER, INNER = 21, 2, 2
WEIGHT, STEP = 100.0, 1e-3
LENGTH = 6.0
"""The root of the sum of squares of the blurry picture's gradients in each direction, once they are scaled."""


def read_taps(y: np.ndarray, side: int) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1]: (side, side) of sum 1; `side` is odd."""
    return pyramid.read_taps(y, side, _guess, rounds=ROUNDS)


def _guess(window: pyramid.Window, taps: np.ndarray, edges: pyramid.Edges, done: int) -> pyramid.Edges:
    """Descend on WEIGHT |k * x - y|^2 + |x|_1 / |x|_2, |x|_2 held for INNER steps of thresholding."""
    k = fourier.transfer_function(taps, window.wrapped.shape)
    y = _scaled(window.edges(window.wrapped))
    x = np.stack(edges) if done % ROUNDS else _scaled(edges)
    for _ in range(OUTER):
        weight = WEIGHT * float(np.linalg.norm(x))
        step = min(STEP, 1 / max(weight, 1e-6))
        for _ in range(INNER):
            missing = fourier.inverse(k * fourier.transform(x), y.shape) - y
            slope = fourier.inverse(np.conj(k) * fourier.transform(missing), y.shape)
            x = soft_threshold(x - np.float32(weight * step) * slope, step)
    return list(x * window.inside)


def _scaled(edges: pyramid.Edges) -> np.ndarray:
    return np.stack([edge * np.float32(LENGTH / max(float(np.linalg.norm(edge)), 1e-6)) for edge in edges])
