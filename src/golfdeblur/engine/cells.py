"""The border of an array: continued to whole cells of a network, mirrored."""

from __future__ import annotations

import numpy as np

from golfdeblur.engine import bands


def whole(length: int, multiple: int) -> int:
    """Return `length` continued to whole cells of `multiple` pixels."""
    return length + -length % multiple


def mirrored(length: int, to: int) -> np.ndarray:
    """Return which pixel lies at each place of an axis of `length` pixels that is mirrored at its end up to `to`."""
    # A mirrored border continues the texture; with the last pixel twice it also does for images of one pixel.
    place = np.arange(to) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def copy(x: np.ndarray, *, out: np.ndarray) -> None:
    """Write `x`, (B, C, H, W), to `out`, of the same shape."""

    def rows(top: int, bottom: int) -> None:
        out[:, :, top:bottom] = x[:, :, top:bottom]

    bands.each(rows, *x.shape[2:])


def fill(x: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write `x`, (B, C, h, w), to the upper left of `out`, (B, C, H, W), and mirror it into what is left of that."""
    height, width = x.shape[2:]
    copy(x, out=out[:, :, :height, :width])
    out[:, :, height:, :width] = out[:, :, mirrored(height, out.shape[2])[height:], :width]
    out[:, :, :, width:] = out[:, :, :, mirrored(width, out.shape[3])[width:]]
    return out
