"""A large picture in bands of rows, each of which stays in the processor's cache."""

from __future__ import annotations

PIXELS = 2**17
"""So many pixels of a large picture, worked on at once, stay in the processor's cache."""


def cut(height: int, width: int) -> list[tuple[int, int]]:
    """Return the bands of a picture of that size in pixels as (top, bottom); every top is even."""
    rows = max(2, PIXELS // width // 2 * 2)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]
