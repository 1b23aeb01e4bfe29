"""Tiles that fade into each other, for a network with instance norm.

Such a network depends on every pixel, and no overlap gives the full frame's values: each tile has statistics of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from golfdeblur.runtimes import Network


def faded(
    network: Network, rows: Callable[[int, int], np.ndarray], size: tuple[int, int], *, side: int, overlap: int
) -> Iterator[np.ndarray]:
    """Apply `network` in tiles of `side` pixels that fade linearly into each other over `overlap` pixels or more.

    `rows(top, bottom)` gives the rows of an image of `size` = (width, height), (B, C, bottom - top, W) each;
    `network` may make another number of channels of them. The result comes as consecutive blocks of rows, of which
    no more than two tiles' height are held at a time.
    """
    width, height = size
    tops, lefts = _starts(height, side, overlap), _starts(width, side, overlap)
    across = [_fade(left, min(side, width), lefts) for left in lefts]
    held: np.ndarray | None = None
    for index, top in enumerate(tops):
        bottom = min(top + side, height)
        given = rows(top, bottom)
        band: np.ndarray | None = None
        for left, fade in zip(lefts, across, strict=True):
            right = left + len(fade)
            made = network(np.ascontiguousarray(given[:, :, :, left:right]))
            if band is None:
                band = np.zeros((*made.shape[:3], width), np.float32)
            band[:, :, :, left:right] += fade * made
        assert band is not None
        band *= _fade(top, bottom - top, tops)[:, None]
        if held is not None:
            band[:, :, : held.shape[2]] += held
        done = tops[index + 1] - top if index + 1 < len(tops) else bottom - top
        yield band[:, :, :done]
        held = band[:, :, done:]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Return where tiles of `side` pixels start that cover `length` evenly and overlap by `overlap` or more."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    return [round(i * (length - side) / (count - 1)) for i in range(count)] if count > 1 else [0]


def _fade(start: int, size: int, starts: list[int]) -> np.ndarray:
    """Return the weights of the tile at `start` along one axis; those of all tiles add up to 1 at every pixel."""
    positions = np.arange(start, start + size)
    weights = np.ones(size, np.float32)
    index = starts.index(start)
    for other, rises in ((index - 1, True), (index, False)):
        if 0 <= other < len(starts) - 1:
            low, high = starts[other + 1], starts[other] + size  # the two tiles share these pixels
            rise = np.clip((positions - low + 1) / (high - low + 1), 0, 1)
            weights *= (rise if rises else 1 - rise).astype(np.float32)
    return weights
