"""The prior that gradients of photographs have: |gradient| to the power 2/3.

Source: Krishnan, Fergus, "Fast image deconvolution using hyper-Laplacian priors" (NeurIPS 2009), with its weight,
penalties and table; the borders are `fourier.continued`.
"""

from __future__ import annotations

import functools

import numpy as np

from golfdeblur.deconvolution import fourier
from golfdeblur.deconvolution.data_term import DataTerm

POWER = 2 / 3
WEIGHT = 2 / 2000
START, GROWTH, END = 1.0, 2 * 2**0.5, 256.0


def restored(y: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return argmin |k * z - y|^2 + WEIGHT sum |d z|^POWER of the plane `y`, (H, W) in [0, 1]."""
    term = DataTerm(y, taps)
    laplacian = fourier.gradient_power(term.wrapped_shape)
    z, penalty = term.y, START
    while penalty <= END:
        across, down = (shrunk(d, penalty) for d in fourier.gradient(z))
        pulled = fourier.transform(fourier.gradient_adjoint(across, down))
        strength = np.float32(WEIGHT * penalty / 2)
        z = term.solve(strength * laplacian, strength * pulled)
        penalty *= GROWTH
    return z[: y.shape[0], : y.shape[1]]


def shrunk(values: np.ndarray, penalty: float) -> np.ndarray:
    """Return argmin over w of |w|^POWER + `penalty` / 2 (w - v)^2 for every v, by a table."""
    table, found = _table(penalty)
    return np.interp(values, table, found).astype(np.float32)


@functools.cache
def _table(penalty: float) -> tuple[np.ndarray, np.ndarray]:
    v = np.linspace(-6, 6, 10_001)
    size, w = abs(v), abs(v)
    for _ in range(30):  # Newton on the larger root of the slope
        slope = POWER * np.maximum(w, 1e-9) ** (POWER - 1) + penalty * (w - size)
        bend = POWER * (POWER - 1) * np.maximum(w, 1e-9) ** (POWER - 2) + penalty
        w = np.clip(w - slope / np.where(bend > 0, bend, np.inf), 0, size)
    better = w**POWER + penalty / 2 * (w - size) ** 2 < penalty / 2 * size**2
    return v, np.sign(v) * np.where(better, w, 0)
