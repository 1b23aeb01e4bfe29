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


def cut(height: int, width: int) -> list[tuple[int, int]]:
    """Return the bands of a picture of that size in pixels as (top, bottom); every top is even."""
    rows = max(2, PIXELS // width // 2 * 2)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def each(work: Callable[[int, int], Result], height: int, width: int) -> list[Result]:
    """Return `work(top, bottom)` of every band (`cut`), from the first to the last.

    Several threads work on the bands of a large picture, so `work` may only write to its own rows. What it raises is
    raised.
    """
    parts = cut(height, width)
    if len(parts) <= FEW:
        return [work(top, bottom) for top, bottom in parts]
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        return list(pool.map(lambda part: work(*part), parts))
