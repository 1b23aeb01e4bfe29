"""The methods that the paper compares itself with, in numpy, and their ceiling: the true kernel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golfdeblur.deconvolution import light
from golfdeblur.deconvolution.data_term import total_variation, wiener
from golfdeblur.deconvolution.estimation import TV_WEIGHT
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.deconvolving import SIDE_PX, WINDOW_PX, busiest
from golfdeblur.experiments.rivals import dark_channel, hyper_laplacian, l0, normalised_sparsity, richardson_lucy

WIENER_WEIGHT = 1e-3
"""Levin, Fergus, Durand, Freeman, "Image and depth from a conventional camera" (2007), their program's default."""

BLIND: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "l0": l0.read_taps,
    "dark-channel": dark_channel.read_taps,
    "normalised-sparsity": normalised_sparsity.read_taps,
}
"""Methods that read the kernel of a plane in [0, 1] of at most so many pixels' side; it is taken out by `tv`."""

KNOWN: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "wiener": lambda y, taps: wiener(y, taps, WIENER_WEIGHT),
    "richardson-lucy": richardson_lucy.restored,
    "tv": lambda y, taps: total_variation(y, taps, TV_WEIGHT),
    "hyper-laplacian": hyper_laplacian.restored,
}
"""Methods that take a plane and its true kernel."""


def blind(pixels: np.ndarray, name: str, *, side: int = SIDE_PX) -> np.ndarray:
    """Read one kernel from the luminance, as stored, and take it out of (H, W, 3) uint8 pixels."""
    y = light.luminance(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    window = y[busiest(y, WINDOW_PX)]
    side = min(side, (min(window.shape) - 1) // 2 * 2 + 1)
    return known(pixels, "tv", Kernel(BLIND[name](window, side)))


def known(pixels: np.ndarray, name: str, kernel: Kernel) -> np.ndarray:
    """Take a kernel, in the light in which it blurs, out of (H, W, 3) uint8 pixels."""
    stored = pixels.transpose(2, 0, 1).astype(np.float32) / 255
    grey = bool((pixels == pixels[:, :, :1]).all())
    planes = light.into(stored[:1] if grey else stored, kernel.light)
    made = np.stack([KNOWN[name](plane, kernel.taps) for plane in planes])
    out = np.rint(255 * np.clip(light.out_of(made, kernel.light), 0, 1)).astype(np.uint8)
    return np.broadcast_to(out.transpose(1, 2, 0), pixels.shape)
