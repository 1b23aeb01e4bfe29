"""A large picture in bands of rows: each stays in the processor's cache, and all cores work on them."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from typing import TypeVar

PIXELS = 2**17
"""So many pixels of a large picture, worked on at once, stay in the processor's cache."""

FEW = 4
"""Up to so many bands are worked on in the thread that asks for it."""

MOST_THREADS = 4
"""Each takes memory for what comes and goes."""

Result = TypeVar("Result")


def tops(height: int, width: int) -> range:
    """Return the first row of every band, an even one; the step is what a band has of rows."""
    return range(0, height, max(2, PIXELS // width // 2 * 2))


def each(work: Callable[[int, int], Result], height: int, width: int) -> list[Result]:
    """Return `work(top, bottom)` of every band of a picture of that size in pixels, from the first to the last.

    Several threads work on the bands of a large picture, so `work` may only write to its own rows. What it raises is
    raised.
    """
    first = tops(height, width)
    last = [min(top + first.step, height) for top in first]
    if len(first) <= FEW:
        return list(map(work, first, last))
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        return list(pool.map(work, first, last))
