"""Any size in bounded memory: an image as a stream of strips, and strips in tiles, without seams.

A network whose output pixel depends on the input at most R pixels away gives, on a part of the image, exactly the full
frame's values wherever that part reaches R further. So parts overlap by R, and only their cores are kept. All parts
start at multiples of the network's cell, so that it sees the same cells as in the full frame.

A network with instance norm depends on every pixel, and no overlap gives the full frame's values: there each tile has
statistics of its own, and neighbours fade into each other (`run_faded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from golfdeblur.errors import ConfigError

Network = Callable[[np.ndarray], np.ndarray]
"""From (B, C, H, W) to the same shape."""


@dataclass(frozen=True)
class Span:
    """A stretch of one axis: the pixels to read, and those of the result to keep, as (start, stop)."""

    read: tuple[int, int]
    keep: tuple[int, int]


def spans(length: int, core: int, *, overlap: int, multiple: int) -> Iterator[Span]:
    """Yield the stretches that cover an axis of `length` pixels with cores of `core` pixels.

    Raises ConfigError unless core and overlap are multiples of `multiple`.
    """
    if core < multiple or core % multiple or overlap % multiple:
        raise ConfigError(f"core {core} and overlap {overlap} must be multiples of {multiple}.")
    for start in range(0, length, core):
        stop = min(start + core, length)
        yield Span((max(0, start - overlap), min(length, stop + overlap)), (start, stop))


def best_core(size: tuple[int, int], *, tile_px: int, overlap: int, multiple: int) -> tuple[int, int]:
    """Return the core, (rows, columns), whose tiles of at most `tile_px` pixels read the fewest pixels in all.

    `size` is the image's height and width. Where not even the smallest core fits, that is returned.
    """
    height, width = size
    best, least = (multiple, multiple), float("inf")
    for bands in range(1, -(-height // multiple) + 1):
        rows = _share(height, bands, multiple)
        across = tile_px // min(height, rows + 2 * overlap)
        widest = width if across >= width else (across - 2 * overlap) // multiple * multiple
        if widest < multiple:
            continue
        tiles = -(-width // widest)
        read = (height + 2 * overlap * (bands - 1)) * (width + 2 * overlap * (tiles - 1))
        if read < least:
            best, least = (rows, _share(width, tiles, multiple)), read
    return best


def _share(length: int, parts: int, multiple: int) -> int:
    """Return the length of each of `parts` equal parts, in whole cells."""
    return -(-length // (parts * multiple)) * multiple


def run_tiled(
    network: Network,
    x: np.ndarray,
    *,
    core: tuple[int, int],
    overlap: int,
    multiple: int,
    hint: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Apply `network` to `x`, (B, C, H, W), tile by tile; `core` is their height and width without overlap.

    With a `hint` (`join`) it gets 2 C channels. The result is written to `out`, of the shape of `x`, if that is given.
    """
    if out is None:
        out = np.empty_like(x)
    height, width = (min(n, c + 2 * overlap) for n, c in zip(x.shape[2:], core, strict=True))
    # One buffer for all tiles: a new one each time would be fetched from the system page by page.
    batch, channels = x.shape[:2]
    channels *= 1 if hint is None else 2
    buffer = np.empty(batch * channels * height * width, x.dtype)
    for rows in spans(x.shape[2], core[0], overlap=overlap, multiple=multiple):
        for columns in spans(x.shape[3], core[1], overlap=overlap, multiple=multiple):
            (top, bottom), (left, right) = rows.read, columns.read
            shape = (batch, channels, bottom - top, right - left)
            given = buffer[: batch * channels * shape[2] * shape[3]].reshape(shape)
            part = x[:, :, top:bottom, left:right]
            if hint is None:
                np.copyto(given, part)
            else:
                join(part, hint[:, :, top // 2 : bottom // 2, left // 2 : right // 2], out=given)
            made = network(given)
            (y0, y1), (x0, x1) = rows.keep, columns.keep
            out[:, :, y0:y1, x0:x1] = made[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
    return out


def join(x: np.ndarray, hint: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write `x`, (B, C, H, W), and `hint`, (B, C, H/2, W/2), enlarged pixel by pixel, into `out`, (B, 2 C, H, W)."""
    channels = x.shape[1]
    out[:, :channels] = x
    for row in (0, 1):
        for column in (0, 1):
            out[:, channels:, row::2, column::2] = hint
    return out


def halved(x: np.ndarray) -> np.ndarray:
    """Return `x`, (B, C, H, W) with H and W even, at half the size: the mean of every four pixels."""
    rows = x[:, :, 0::2] + x[:, :, 1::2]
    out = rows[..., 0::2] + rows[..., 1::2]
    out *= 0.25
    return out


def run_in_strips(
    network: Network, blocks: Iterable[np.ndarray], height: int, *, core: int, overlap: int, multiple: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Apply `network` to an image of `height` rows that arrives as consecutive blocks of rows, (B, C, h, W).

    Yield the image and the result in strips of `core` rows; of the image no more than one strip, its overlap and
    one block are held at a time.
    """
    arriving = iter(blocks)
    held, bottom = [next(arriving)], 0
    bottom = held[0].shape[2]
    for span in spans(height, core, overlap=overlap, multiple=multiple):
        (top, end), (start, stop) = span.read, span.keep
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
