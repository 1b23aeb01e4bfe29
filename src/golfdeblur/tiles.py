"""Any size in bounded memory: cut an image into overlapping tiles and put the results together without seams.

A network whose output pixel depends on the input at most R pixels away gives, on a tile, exactly the full frame's
values wherever the tile reaches R further. So the tiles overlap by R, and only their cores are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from golfdeblur.errors import ConfigError


@dataclass(frozen=True)
class Span:
    """A stretch of one axis: the pixels to read, and those of the result to keep, as (start, stop)."""

    read: tuple[int, int]
    keep: tuple[int, int]


def spans(length: int, core: int, *, overlap: int, multiple: int) -> Iterator[Span]:
    """Yield the stretches that cover an axis of `length` pixels with cores of `core` pixels.

    All of them start at multiples of `multiple`, so that a network that works on cells of that size sees the same
    cells as in the full frame. Raises ConfigError unless core, overlap and length are multiples of it.
    """
    if core < multiple or core % multiple or overlap % multiple or length % multiple:
        raise ConfigError(f"length {length}, core {core} and overlap {overlap} must be multiples of {multiple}.")
    for start in range(0, length, core):
        stop = min(start + core, length)
        yield Span((max(0, start - overlap), min(length, stop + overlap)), (start, stop))


def run_tiled(
    network: Callable[[np.ndarray], np.ndarray], x: np.ndarray, *, core: int, overlap: int, multiple: int
) -> np.ndarray:
    """Apply `network` to `x`, (B, C, H, W), tile by tile; H and W must be multiples of `multiple`."""
    out = np.empty_like(x)
    for rows in spans(x.shape[2], core, overlap=overlap, multiple=multiple):
        for columns in spans(x.shape[3], core, overlap=overlap, multiple=multiple):
            (top, bottom), (left, right) = rows.read, columns.read
            tile = network(np.ascontiguousarray(x[:, :, top:bottom, left:right]))
            (y0, y1), (x0, x1) = rows.keep, columns.keep
            out[:, :, y0:y1, x0:x1] = tile[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
    return out
