"""The likeliest picture behind photons that were counted, one multiplication after another; no prior.

Sources: Richardson (1972) and Lucy (1974). The number of steps is that of scikit-image, where they stop the noise from
growing.
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import fourier
from golfdeblur.deconvolution.data_term import convolve, convolve_adjoint

STEPS = 50
LEAST = 1e-6
"""No pixel and no quotient's divisor is darker, white at 1."""


def restored(y: np.ndarray, taps: np.ndarray, *, steps: int = STEPS) -> np.ndarray:
    """Return the plane `y`, (H, W) in [0, 1], without the blur of `taps`."""
    wrapped = np.maximum(fourier.continued(y, 2 * max(taps.shape)), np.float32(LEAST))
    x = wrapped
    for _ in range(steps):
        quotient = wrapped / np.maximum(convolve(x, taps), np.float32(LEAST))
        x = np.maximum(x * convolve_adjoint(quotient, taps), np.float32(LEAST))
    return x[: y.shape[0], : y.shape[1]]
