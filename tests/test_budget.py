from dataclasses import replace

import pytest

from golfdeblur.engine import budget
from golfdeblur.errors import ConfigError

GIB = 2**30
PHOTO = budget.Need(6000, 4000, stored_bytes=10 * 24_000_000, stages=4, overlap_px=96, bytes_per_px=180)


def test_plenty_of_memory_means_whole_frames_in_large_tiles() -> None:
    assert budget.plan(PHOTO, 16 * GIB) == budget.Plan(budget.LARGEST_TILE_PX, None)
    small = replace(PHOTO, width=640, height=480, stored_bytes=3_000_000)
    assert budget.plan(small, GIB).strip_rows is None


def test_less_memory_means_strips_that_fit_and_read_little() -> None:
    plans = [budget.plan(PHOTO, int(gib * GIB)) for gib in (1.4, 1.2, 1.0, 0.8)]
    tiles = [plan.tile_px for plan in plans]
    assert tiles == sorted(tiles, reverse=True)
    for plan, gib in zip(plans, (1.4, 1.2, 1.0, 0.8), strict=True):
        assert plan.strip_rows is not None
        held = PHOTO.stages * (5 * plan.strip_rows + 4 * PHOTO.overlap_px) * PHOTO.width * 12
        assert held + plan.tile_px * PHOTO.bytes_per_px + PHOTO.stored_bytes < gib * GIB
        for rows in budget.STRIP_ROWS:  # no other number of rows, with the tile that is left to it, reads less
            tile = plan.tile_px + 5 * PHOTO.stages * PHOTO.width * 12 * (plan.strip_rows - rows) // PHOTO.bytes_per_px
            if tile >= (64 + 2 * PHOTO.overlap_px) ** 2:
                tile = min(tile - 1, budget.LARGEST_TILE_PX)
                assert budget._pixels_read(PHOTO, rows, tile) >= budget._pixels_read(
                    PHOTO, plan.strip_rows, plan.tile_px
                )


def test_too_little_names_what_is_enough() -> None:
    with pytest.raises(ConfigError, match="--max-memory") as caught:
        budget.plan(PHOTO, 300 * 2**20)
    enough = int(str(caught.value).split("--max-memory ")[1].split("M")[0])
    assert budget.plan(PHOTO, enough * 2**20).strip_rows == budget.STRIP_ROWS[-1]
    with pytest.raises(ConfigError):
        budget.plan(PHOTO, (enough - 1) * 2**20)


def test_networks_that_see_everything_get_the_whole_frame_or_fading_tiles() -> None:
    paper = replace(PHOTO, overlap_px=0, bytes_per_px=800)
    assert budget.plan(paper, 32 * GIB) == budget.Plan(24_000_000, None)
    sides = [budget.plan(paper, int(gib * GIB)).faded_px for gib in (4.0, 1.0, 0.8, 0.6)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 1024
    assert sides[-1] < 1024
    with pytest.raises(ConfigError, match="--max-memory") as caught:
        budget.plan(paper, 400 * 2**20)
    enough = int(str(caught.value).split("--max-memory ")[1].split("M")[0])
    assert budget.plan(paper, enough * 2**20).faded_px == budget.FADED_SIDES[-1]


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 * GIB), ("1.5g", 1.5 * GIB), ("800M", 800 * 2**20), ("70 KiB", 71680)]
)
def test_sizes(text: str, size: float) -> None:
    assert budget.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "2 X", "two"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="2G"):
        budget.parse_size(text)


def test_the_default_is_half_of_what_is_free() -> None:
    import psutil

    assert 0 < budget.default_budget() <= psutil.virtual_memory().total / 2
