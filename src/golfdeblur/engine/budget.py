"""A budget of memory, and how a picture is worked on within it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from golfdeblur import machine
from golfdeblur.errors import ConfigError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

PROCESS_BYTES = 260 * 2**20
"""What the process takes without any picture: Python, numpy and the runtime."""

LARGEST_TILE_PX = 6_600_000
"""Half of a photo of 12 megapixels with its overlap, or a quarter of one of 24; larger tiles save little."""

STRIP_ROWS = (1024, 768, 512, 384, 256, 128, 64)
CELL_PX = 16
"""Tiles are whole cells of the largest networks."""

FADED_SIDES = (1024, 768, 512, 384, 256)
"""Sides of tiles with statistics of their own; the last is what the networks were made for."""

FADED_OVERLAP_PX = 64

WHOLE_BYTES_PER_PX = 30
"""Full frames of float32: what a stroke gets, what it makes, and half of one for what comes and goes."""


COARSE_BYTES_PER_PX = 4
"""What an F of several scales adds to the picture at half the size, float32, and a little more while it is made."""


@dataclass(frozen=True)
class Need:
    """What decides how much memory a picture takes."""

    width: int
    height: int
    stored_bytes: int
    """The picture as it came and as it goes."""
    stages: int
    """F and the corrections after it."""
    overlap_px: int
    """The largest overlap of the stages; 0 if they cannot be tiled."""
    bytes_per_px: int
    """What the networks together take for each pixel of a tile: most runtimes keep the memory of each for the next."""


@dataclass(frozen=True)
class Plan:
    """How to work within a budget."""

    tile_px: int
    """Pixels of the largest tile a network gets at once."""
    strip_rows: int | None
    """Rows of a strip that goes through all stages before the next; None: whole frames, stage by stage."""
    faded_px: int | None = None
    """Side of tiles that go through all stages and fade into each other: where no overlap would make them exact."""

    @property
    def is_whole(self) -> bool:
        """Whole frames go through one stage after another."""
        return self.strip_rows is None and self.faded_px is None


def plan(need: Need, budget: int) -> Plan:
    """Choose whole frames if they fit into `budget` bytes, else those strips whose overlaps cost least.

    Networks that see the whole picture get it whole, or tiles that fade into each other. Raises ConfigError where
    nothing fits, and says what would.
    """
    left = budget - PROCESS_BYTES - need.stored_bytes
    pixels = need.width * need.height
    if need.overlap_px == 0:
        return _plan_faded(need, budget, left)
    smallest = (STRIP_ROWS[-1] + 2 * need.overlap_px) ** 2
    tile = min((left - pixels * WHOLE_BYTES_PER_PX) // need.bytes_per_px, LARGEST_TILE_PX)
    if tile >= min(pixels, LARGEST_TILE_PX // 3):
        return Plan(tile, None)
    fitting = []
    for rows in STRIP_ROWS:
        # What a stage holds, what arrives, both joined, a copy for the network, and the result (measured at 24 MP).
        held = need.stages * (5 * rows + 4 * need.overlap_px) * need.width * 12
        tile = min((left - held) // need.bytes_per_px, LARGEST_TILE_PX)
        if tile >= smallest:
            fitting.append((_pixels_read(need, rows, tile), Plan(tile, rows)))
    if not fitting:
        raise _too_small(budget, budget - left + held + smallest * need.bytes_per_px)
    return min(fitting, key=lambda choice: choice[0])[1]


def _pixels_read(need: Need, rows: int, tile_px: int) -> int:
    """Return how many pixels a stage reads in all strips of `rows` rows, with the overlaps of strips and tiles."""
    from golfdeblur.engine import cells, tiles  # they import numpy, which `golf --help` can do without

    height, width = (cells.whole(length, CELL_PX) for length in (need.height, need.width))
    strip = min(height, rows + 2 * need.overlap_px), width
    tile = tiles.best_tile(strip, tile_px=tile_px, overlap=need.overlap_px, multiple=CELL_PX)
    strips = tiles.count(height, strip[0], overlap=need.overlap_px)
    return strips * tiles.pixels_read(strip, tile, overlap=need.overlap_px)


def _plan_faded(need: Need, budget: int, left: int) -> Plan:
    pixels = need.width * need.height
    if pixels * (WHOLE_BYTES_PER_PX + need.bytes_per_px) <= left:
        return Plan(pixels, None)
    for side in FADED_SIDES:
        # Of every band of tiles: what is read, what is made, and what waits for the next.
        least = need.width * side * 3 * 12 + side**2 * need.bytes_per_px
        if least <= left:
            return Plan(side**2, None, side)
    raise _too_small(budget, budget - left + least)


def _too_small(budget: int, least: int) -> ConfigError:
    return ConfigError(
        f"{budget / 2**20:.0f} MiB of memory are too little for this picture; "
        f"give --max-memory {-(-least // 2**20)}M or more, or close other programs."
    )


def parse_size(text: str) -> int:
    """Return the bytes that "2G", "1.5g", "800M" or "300000000" mean. Raises ConfigError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip().upper())
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"'{text}' is no amount of memory; write for example 2G or 800M.")
    return int(float(found[1]) * UNITS[found[2]])


def default_budget() -> int:
    """Return half of the bytes that are free, within the limit of a container."""
    return machine.free_bytes() // 2
