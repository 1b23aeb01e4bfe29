"""An array of any size in bounded memory: in tiles, without seams.

A network whose output in a cell depends on the input at most R pixels beyond that cell gives, on a part of the image,
exactly the full frame's values wherever that part reaches R further. So parts reach R into each other, and what lies
nearer to an edge inside of the image is not kept. All parts start at multiples of the network's cell, so that it sees
the same cells as in the full frame, and all are of one size: a runtime keeps memory for every size that it has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from golfdeblur.engine import scales
from golfdeblur.engine.cells import fill, whole
from golfdeblur.errors import ConfigError
from golfdeblur.runtimes import Network


@dataclass(frozen=True)
class Span:
    """A stretch of one axis: the pixels to read, and those of the result to keep, as (start, stop)."""

    read: tuple[int, int]
    keep: tuple[int, int]


def spans(length: int, size: int, *, overlap: int, multiple: int) -> Iterator[Span]:
    """Yield the stretches of `size` pixels that cover an axis of `length` pixels, continued to whole cells.

    Neighbours share 2 `overlap` pixels, of which each keeps one half; the last lies further back, so as to end where
    the axis does. An axis of less than `size` is one stretch. Raises ConfigError unless size and overlap are multiples
    of `multiple`, and where the overlaps leave nothing of a stretch.
    """
    end = whole(length, multiple)
    size = min(size, end)
    if size % multiple or overlap % multiple or (size < end and size <= 2 * overlap):
        raise ConfigError(f"Size {size} must be over twice the overlap {overlap}, and both multiples of {multiple}.")
    kept = 0
    while kept < length:
        start = max(0, min(kept - overlap, end - size))
        stop = length if start + size == end else start + size - overlap
        yield Span((start, start + size), (kept, stop))
        kept = stop


def count(length: int, size: int, *, overlap: int) -> int:
    """Return how many stretches `spans` yields for an axis of whole cells."""
    return 1 if size >= length else -(-(length - 2 * overlap) // (size - 2 * overlap))


def best_tile(image: tuple[int, int], *, tile_px: int, overlap: int, multiple: int) -> tuple[int, int]:
    """Return the height and width of those tiles of at most `tile_px` pixels that read the fewest pixels in all.

    `image` is its height and width. Where not even the smallest tile fits, that is returned.
    """
    height, width = (whole(length, multiple) for length in image)
    smallest = 2 * overlap + multiple
    best, least = (min(smallest, height), min(smallest, width)), float("inf")
    for down in range(1, height // multiple + 1):
        rows = _share(height, down, overlap, multiple)
        widest = tile_px // rows // multiple * multiple
        if widest < min(smallest, width):
            continue
        tile = rows, _share(width, count(width, widest, overlap=overlap), overlap, multiple)
        if (read := pixels_read((height, width), tile, overlap=overlap)) < least:
            best, least = tile, read
    return best


def pixels_read(image: tuple[int, int], tile: tuple[int, int], *, overlap: int) -> int:
    """Return how many pixels all tiles of an image of whole cells have together."""
    down, across = (count(length, size, overlap=overlap) * size for length, size in zip(image, tile, strict=True))
    return down * across


def _share(length: int, parts: int, overlap: int, multiple: int) -> int:
    """Return the size of `parts` equal stretches of an axis, in whole cells."""
    return min(length, whole(-(-(length + 2 * overlap * (parts - 1)) // parts), multiple))


def run_tiled(
    network: Network,
    x: np.ndarray,
    *,
    tile: tuple[int, int],
    overlap: int,
    multiple: int,
    coarse: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Apply `network` to `x`, (B, C, H, W) of any size, tile by tile; `tile` is their height and width (`spans`).

    Tiles at the lower and right border are continued to whole cells (`fill`), and x as a whole never is: a copy of a
    large frame takes a tenth of the networks' time. With `coarse` (`scales`) the network gets 2 C channels. The result
    is written to `out`, of the shape of `x`, if that is given.
    """
    if out is None:
        out = np.empty((x.shape[0], min(x.shape[1], 3), *x.shape[2:]), x.dtype)
    height, width = (min(size, whole(n, multiple)) for size, n in zip(tile, x.shape[2:], strict=True))
    batch, channels = x.shape[:2]
    # One for all tiles: a new one each time would be fetched from the system page by page.
    given = np.empty((batch, channels if coarse is None else 2 * channels, height, width), x.dtype)
    for rows in spans(x.shape[2], height, overlap=overlap, multiple=multiple):
        for columns in spans(x.shape[3], width, overlap=overlap, multiple=multiple):
            (top, bottom), (left, right) = rows.read, columns.read
            part = x[:, :, top:bottom, left:right]
            if coarse is None:
                fill(part, out=given)
            else:
                scales.join(part, coarse[:, :, top // 2 : bottom // 2, left // 2 : right // 2], out=given)
            made = network(given)
            (y0, y1), (x0, x1) = rows.keep, columns.keep
            out[:, :, y0:y1, x0:x1] = made[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
            del made  # it may lie in the memory that the next tile's maps would fit into
    return out
