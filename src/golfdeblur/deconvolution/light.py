"""From stored sRGB values to light and back: a lens and a hand blur light, not what a file stores.

Source: IEC 61966-2-1. Values below 0, which a deconvolution leaves beside edges, follow the straight part of the curve.
"""

from __future__ import annotations

import numpy as np

LIGHTS = ("srgb", "linear")
"""Where a blur is a convolution: in the stored values themselves (`srgb`) or in the light that they stand for."""


def to_linear(x: np.ndarray) -> np.ndarray:
    """Return the light of sRGB values, both float32 with white at 1."""
    curved = ((np.maximum(x, 0.04045) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(x <= 0.04045, x / np.float32(12.92), curved).astype(np.float32, copy=False)


def to_srgb(x: np.ndarray) -> np.ndarray:
    """Return the sRGB values of light, both float32 with white at 1."""
    curved = np.float32(1.055) * np.maximum(x, 0.0031308) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(x <= 0.0031308, x * np.float32(12.92), curved).astype(np.float32, copy=False)


def into(x: np.ndarray, light: str) -> np.ndarray:
    """Return stored values as they are (`srgb`), or their light (`linear`)."""
    return to_linear(x) if light == "linear" else x


def out_of(x: np.ndarray, light: str) -> np.ndarray:
    """Return stored values of what `into` gave."""
    return to_srgb(x) if light == "linear" else x


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return the grey, (..., H, W), of (..., 3, H, W) pixels (Rec. 601 weights)."""
    return np.einsum("...chw,c->...hw", pixels, np.array([0.299, 0.587, 0.114], np.float32), optimize=True)
