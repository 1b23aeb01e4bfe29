import numpy as np
import pytest

from golfdeblur.errors import ConfigError
from golfdeblur.tiles import best_core, halved, join, run_faded, run_in_strips, run_tiled, spans


def neighbours(x: np.ndarray) -> np.ndarray:
    """A network that sees 8 px in each direction: sums of shifted images, with zeros outside."""
    padded = np.pad(x, ((0, 0), (0, 0), (8, 8), (8, 8)))
    height, width = x.shape[2:]
    return sum(
        padded[:, :, dy : dy + height, dx : dx + width] * (dx + 2 * dy) for dy in (0, 8, 16) for dx in (0, 3, 16)
    )


@pytest.mark.parametrize("shape", [(64, 64), (72, 200), (8, 120), (136, 16)])
@pytest.mark.parametrize("core", [16, 32, 128])
def test_tiles_equal_the_full_frame(shape: tuple[int, int], core: int) -> None:
    x = np.random.default_rng(0).random((2, 3, *shape))
    assert np.array_equal(run_tiled(neighbours, x, core=(core, 2 * core), overlap=8, multiple=8), neighbours(x))


def test_tiles_take_their_part_of_the_hint_along() -> None:
    rng = np.random.default_rng(0)
    x, hint = rng.random((2, 3, 72, 104)), rng.random((2, 3, 36, 52))

    def network(given: np.ndarray) -> np.ndarray:
        assert given.shape[1] == 6
        made = neighbours(given)
        return made[:, :3] - 2 * made[:, 3:]

    whole = network(join(x, hint, out=np.empty((2, 6, 72, 104))))
    out = np.empty_like(x)
    tiled = run_tiled(network, x, core=(16, 32), overlap=8, multiple=8, hint=hint, out=out)
    assert tiled is out
    assert np.array_equal(tiled, whole)
    assert np.allclose(halved(join(x, hint, out=np.empty((2, 6, 72, 104))))[:, 3:], hint)


def test_too_small_an_overlap_shows() -> None:
    x = np.random.default_rng(0).random((1, 3, 64, 64))
    assert not np.array_equal(run_tiled(neighbours, x, core=(16, 16), overlap=0, multiple=8), neighbours(x))


def test_the_best_core_fits_and_reads_little() -> None:
    # 24 megapixels: two rows of three tiles read 11 % more than the photo.
    assert best_core((4000, 6000), tile_px=5_000_000, overlap=96, multiple=8) == (2000, 2000)
    for size in ((4000, 6000), (150, 201), (64, 5000), (8, 8)):
        for tile_px in (100_000, 1_000_000):
            rows, columns = best_core(size, tile_px=tile_px, overlap=96, multiple=8)
            assert rows % 8 == columns % 8 == 0
            assert min(rows + 192, size[0]) * min(columns + 192, size[1]) <= tile_px
    assert best_core((400, 400), tile_px=64, overlap=96, multiple=8) == (8, 8)


def test_spans_cover_everything_once() -> None:
    kept = [i for span in spans(104, 32, overlap=16, multiple=8) for i in range(*span.keep)]
    assert kept == list(range(104))


@pytest.mark.parametrize("wrong", [{"core": 20}, {"core": 0}, {"overlap": 3}])
def test_tiles_that_miss_the_cells_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        list(spans(64, **{"core": 16, "overlap": 8, "multiple": 8, **wrong}))


@pytest.mark.parametrize("height", [8, 64, 101, 136])
@pytest.mark.parametrize("core", [16, 32, 128])
@pytest.mark.parametrize("block", [5, 40, 200])
def test_strips_of_two_networks_equal_the_full_frames(height: int, core: int, block: int) -> None:
    x = np.random.default_rng(0).random((1, 3, height, 40))
    blocks = (x[:, :, top : top + block] for top in range(0, height, block))
    first = run_in_strips(neighbours, blocks, height, core=core, overlap=8, multiple=8)
    second = run_in_strips(neighbours, (out for _, out in first), height, core=24, overlap=8, multiple=8)
    given, made = (np.concatenate(parts, axis=2) for parts in zip(*second, strict=True))
    assert np.array_equal(given, neighbours(x))
    assert np.array_equal(made, neighbours(neighbours(x)))


@pytest.mark.parametrize("size", [(32, 32), (300, 40), (41, 129), (96, 97)])
def test_faded_tiles_give_every_pixel_the_weight_one(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((1, 3, size[1], size[0])).astype(np.float32)
    blocks = run_faded(lambda t: 2 * t, lambda a, b: x[:, :, a:b], size, side=32, overlap=8)
    assert np.allclose(np.concatenate(list(blocks), axis=2), 2 * x, atol=1e-6)


def test_faded_tiles_show_no_seams() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32), (1, 3, 150, 200))

    def with_own_statistics(tile: np.ndarray) -> np.ndarray:
        return tile - tile.mean()

    blocks = run_faded(with_own_statistics, lambda a, b: ramp[:, :, a:b], (200, 150), side=64, overlap=16)
    made = np.concatenate(list(blocks), axis=2)
    hard = run_tiled(with_own_statistics, np.ascontiguousarray(ramp), core=(40, 40), overlap=0, multiple=8)
    seam = float(np.abs(np.diff(hard, axis=3)).max())
    assert float(np.abs(np.diff(made, axis=3)).max()) < seam / 8
