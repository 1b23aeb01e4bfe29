"""Few edges, and those steep: an L0 prior on the gradients guides the kernel (`deconvolution.pyramid`).

Source: Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image deblurring" (CVPR 2013). After it, not it:
the L0 norm is split in half-quadratic steps instead of their family of functions, and the weights are those of Pan,
Hu, Su, Yang, "Deblurring text images via L0-regularized intensity and gradient prior" (CVPR 2014).
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import pyramid


def read_taps(y: np.ndarray, side: int) -> np.ndarray:
    """Return the kernel of `y`, a plane in [0, 1]: (side, side) of sum 1; `side` is odd."""
    return pyramid.blind_taps(y, side, pyramid.FINE)
