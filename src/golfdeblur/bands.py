"""A large picture in bands of rows: each stays in the processor's cache, and all cores work on them."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from typing import TypeVar

ROWS = 32
"""So many rows of a large picture, worked on at once, stay in the processor's cache."""

FEW_ROWS = 512
"""Pictures of fewer rows are done before other threads have started."""

MOST_THREADS = 4
"""Each takes memory for what comes and goes."""

Result = TypeVar("Result")


def each(work: Callable[[int, int], Result], height: int) -> list[Result]:
    """Return `work(top, bottom)` of every band of a picture of `height` rows, from the first to the last.

    Several threads work on the bands of a large picture, so `work` may only write to its own rows. What it raises is
    raised.
    """
    tops = range(0, height, ROWS)
    bottoms = [min(top + ROWS, height) for top in tops]
    if height < FEW_ROWS:
        return list(map(work, tops, bottoms))
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        return list(pool.map(work, tops, bottoms))
