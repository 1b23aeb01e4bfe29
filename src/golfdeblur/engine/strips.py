"""An array as a stream of rows: strips of it go through a network, one after another, without seams (`tiles`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from golfdeblur.engine.tiles import spans
from golfdeblur.runtimes import Network


def in_strips(
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
