"""The border of an array: continued to whole cells of a network, mirrored."""

from __future__ import annotations

import numpy as np


def whole(length: int, multiple: int) -> int:
    """Return `length` continued to whole cells of `multiple` pixels."""
    return length + -length % multiple


def mirrored(length: int, to: int) -> np.ndarray:
    """Return which pixel lies at each place of an axis of `length` pixels that is mirrored at its end up to `to`."""
    # A mirrored border continues the texture; with the last pixel twice it also does for images of one pixel.
    place = np.arange(to) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def fill(x: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write `x`, (B, C, h, w), to the upper left of `out`, (B, C, H, W), and mirror it into what is left of that."""
    height, width = x.shape[2:]
    out[:, :, :height, :width] = x
    out[:, :, height:, :width] = out[:, :, mirrored(height, out.shape[2])[height:], :width]
    out[:, :, :, width:] = out[:, :, :, mirrored(width, out.shape[3])[width:]]
    return out
