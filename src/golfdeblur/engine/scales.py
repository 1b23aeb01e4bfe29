"""A network of several scales: what it adds at half the size comes first, and it sees that beside the image.

With n the network on one scale, from an image x and the residual of half the size, its residual over s scales is

    r_s(x) = n(x, r_{s-1}(half(x))) - x,    r_0 = 0.

`residual` is that line. The other statement of it, `learning.networks.ResidualUNet`, has to be differentiable and is
tested against this one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golfdeblur import bands
from golfdeblur.engine.cells import fill, mirrored, whole

OneScale = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""n: from (B, C, H, W) and a residual of half the size, in whole cells, to (B, C, H, W)."""


def residual(network: OneScale, x: np.ndarray, scales: int, *, multiple: int) -> np.ndarray:
    """Return r_scales(x) for `x`, (B, C, H, W); cells of `multiple` pixels."""
    if scales > 1:
        coarse = residual(network, half(x, multiple=multiple), scales - 1, multiple=multiple)
    else:
        coarse = np.zeros((*x.shape[:2], *(whole(n, multiple) // 2 for n in x.shape[2:])), x.dtype)
    # A new array: the network's own may lie in the middle of the memory that the next run's maps would fit into.
    return network(x, coarse) - x


def half(x: np.ndarray, *, multiple: int) -> np.ndarray:
    """Return `halved` of an array, (B, C, H, W)."""
    return halved(lambda top, bottom: x[:, :, top:bottom], (x.shape[3], x.shape[2]), multiple=multiple)


def halved(rows: Callable[[int, int], np.ndarray], size: tuple[int, int], *, multiple: int) -> np.ndarray:
    """Return an image, continued to whole cells of `multiple` pixels (even), at half the size: means of four pixels.

    `rows(top, bottom)` gives the rows of the image of `size` = (width, height), (B, C, bottom - top, W) each.
    """
    width, height = size
    down, across = (mirrored(length, whole(length, multiple)) for length in (height, width))
    out = np.empty((*rows(0, 1).shape[:2], len(down) // 2, len(across) // 2), np.float32)
    for top, bottom in bands.cut(len(down), len(across)):
        wanted = down[top:bottom]
        low = int(wanted.min())
        planes = rows(low, int(wanted.max()) + 1)
        if bottom > height:
            planes = planes.take(wanted - low, axis=2)
        if len(across) > width:
            planes = planes.take(across, axis=3)
        pairs = planes[:, :, 0::2] + planes[:, :, 1::2]
        made = out[:, :, top // 2 : bottom // 2]
        np.add(pairs[..., 0::2], pairs[..., 1::2], out=made)
        made *= 0.25
    return out


def join(x: np.ndarray, coarse: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write `x` (`cells.fill`) and `coarse`, (B, C, H/2, W/2), enlarged pixel by pixel, into `out`, (B, 2 C, H, W)."""
    channels = x.shape[1]
    fill(x, out=out[:, :channels])
    for row in (0, 1):
        for column in (0, 1):
            out[:, channels:, row::2, column::2] = coarse
    return out
