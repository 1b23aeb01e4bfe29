"""Any size in bounded memory: an image as a stream of strips, and strips in tiles, without seams.

A network whose output in a cell depends on the input at most R pixels beyond that cell gives, on a part of the image,
exactly the full frame's values wherever that part reaches R further. So parts reach R into each other, and what lies
nearer to an edge inside of the image is not kept. All parts start at multiples of the network's cell, so that it sees
the same cells as in the full frame, and all are of one size: a runtime keeps memory for every size that it has seen.

A network with instance norm depends on every pixel, and no overlap gives the full frame's values: there each tile has
statistics of its own, and neighbours fade into each other (`run_faded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from golfdeblur import bands
from golfdeblur.errors import ConfigError

Network = Callable[[np.ndarray], np.ndarray]
"""From (B, C, H, W) to the same shape."""


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
    hint: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Apply `network` to `x`, (B, C, H, W) of any size, tile by tile; `tile` is their height and width (`spans`).

    Tiles at the lower and right border are continued to whole cells (`fill`), and x as a whole never is: a copy of a
    large frame takes a tenth of the networks' time. With a `hint` (`join`) the network gets 2 C channels. The result is
    written to `out`, of the shape of `x`, if that is given.
    """
    if out is None:
        out = np.empty_like(x)
    height, width = (min(size, whole(n, multiple)) for size, n in zip(tile, x.shape[2:], strict=True))
    batch, channels = x.shape[:2]
    # One for all tiles: a new one each time would be fetched from the system page by page.
    given = np.empty((batch, channels if hint is None else 2 * channels, height, width), x.dtype)
    for rows in spans(x.shape[2], height, overlap=overlap, multiple=multiple):
        for columns in spans(x.shape[3], width, overlap=overlap, multiple=multiple):
            (top, bottom), (left, right) = rows.read, columns.read
            part = x[:, :, top:bottom, left:right]
            if hint is None:
                fill(part, out=given)
            else:
                join(part, hint[:, :, top // 2 : bottom // 2, left // 2 : right // 2], out=given)
            made = network(given)
            (y0, y1), (x0, x1) = rows.keep, columns.keep
            copy(made[:, :, y0 - top : y1 - top, x0 - left : x1 - left], out=out[:, :, y0:y1, x0:x1])
            del made  # it may lie in the memory that the next tile's maps would fit into
    return out


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


def join(x: np.ndarray, hint: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write `x` (`fill`) and `hint`, (B, C, H/2, W/2), enlarged pixel by pixel, into `out`, (B, 2 C, H, W)."""
    channels = x.shape[1]
    fill(x, out=out[:, :channels])

    def rows(top: int, bottom: int) -> None:
        enlarged = out[:, channels:, 2 * top : 2 * bottom]
        for row in (0, 1):
            for column in (0, 1):
                enlarged[:, :, row::2, column::2] = hint[:, :, top:bottom]

    bands.each(rows, *hint.shape[2:])
    return out


def halved(rows: Callable[[int, int], np.ndarray], size: tuple[int, int], *, multiple: int) -> np.ndarray:
    """Return an image, continued to whole cells of `multiple` pixels (even), at half the size: means of four pixels.

    `rows(top, bottom)` gives the rows of the image of `size` = (width, height), (B, C, bottom - top, W) each, also to
    several threads at once.
    """
    width, height = size
    down, across = (mirrored(length, whole(length, multiple)) for length in (height, width))
    out = np.empty((*rows(0, 1).shape[:2], len(down) // 2, len(across) // 2), np.float32)

    def halve(top: int, bottom: int) -> None:
        wanted = down[top:bottom]
        low = int(wanted.min())
        planes = rows(low, int(wanted.max()) + 1)
        if bottom > height:
            planes = planes.take(wanted - low, axis=2)
        if len(across) > width:
            planes = planes.take(across, axis=3)
        pairs = planes[:, :, 0::2] + planes[:, :, 1::2]
        half = out[:, :, top // 2 : bottom // 2]
        np.add(pairs[..., 0::2], pairs[..., 1::2], out=half)
        half *= 0.25

    bands.each(halve, len(down), len(across))
    return out


def run_in_strips(
    network: Network, blocks: Iterable[np.ndarray], height: int, *, size: int, overlap: int, multiple: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Apply `network` to an image of `height` rows that arrives as consecutive blocks of rows, (B, C, h, W).

    Yield the image and the result in what is kept of strips of `size` rows (`spans`); of the image no more than one
    strip and one block are held at a time.
    """
    arriving = iter(blocks)
    held, bottom = [next(arriving)], 0
    bottom = held[0].shape[2]
    for span in spans(height, size, overlap=overlap, multiple=multiple):
        (top, end), (start, stop) = span.read, span.keep
        end = min(end, height)
        while bottom < end:
            held.append(next(arriving))
            bottom += held[-1].shape[2]
        joined = np.concatenate(held, axis=2)
        joined = joined[:, :, top - (bottom - joined.shape[2]) :]
        held = [joined]
        out = network(np.ascontiguousarray(joined[:, :, : end - top]))
        yield joined[:, :, start - top : stop - top], out[:, :, start - top : stop - top]


def run_faded(
    network: Network, rows: Callable[[int, int], np.ndarray], size: tuple[int, int], *, side: int, overlap: int
) -> Iterator[np.ndarray]:
    """Apply `network` in tiles of `side` pixels that fade linearly into each other over `overlap` pixels or more.

    `rows(top, bottom)` gives the rows of an image of `size` = (width, height), (B, C, bottom - top, W) each; the
    result comes as consecutive blocks of rows, of which no more than two tiles' height are held at a time.
    """
    width, height = size
    tops, lefts = _starts(height, side, overlap), _starts(width, side, overlap)
    across = [_fade(left, min(side, width), lefts) for left in lefts]
    held: np.ndarray | None = None
    for index, top in enumerate(tops):
        bottom = min(top + side, height)
        given = rows(top, bottom)
        band = np.zeros_like(given)
        for left, fade in zip(lefts, across, strict=True):
            right = left + len(fade)
            band[:, :, :, left:right] += fade * network(np.ascontiguousarray(given[:, :, :, left:right]))
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
