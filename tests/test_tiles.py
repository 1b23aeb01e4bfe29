import numpy as np
import pytest

from golfdeblur.engine.cells import fill
from golfdeblur.engine.faded import faded
from golfdeblur.engine.scales import half, halved, join, residual
from golfdeblur.engine.strips import in_strips
from golfdeblur.engine.tiles import best_tile, count, pixels_read, run_tiled, spans
from golfdeblur.errors import ConfigError


def neighbours(x: np.ndarray) -> np.ndarray:
    """A network that sees 8 px in each direction: sums of shifted images, with zeros outside."""
    padded = np.pad(x, ((0, 0), (0, 0), (8, 8), (8, 8)))
    height, width = x.shape[2:]
    return sum(
        padded[:, :, dy : dy + height, dx : dx + width] * (dx + 2 * dy) for dy in (0, 8, 16) for dx in (0, 3, 16)
    )


@pytest.mark.parametrize("shape", [(64, 64), (72, 200), (8, 120), (136, 16)])
@pytest.mark.parametrize("side", [24, 48, 144])
def test_tiles_equal_the_full_frame(shape: tuple[int, int], side: int) -> None:
    x = np.random.default_rng(0).random((2, 3, *shape))
    seen = set()

    def network(given: np.ndarray) -> np.ndarray:
        seen.add(given.shape)
        return neighbours(given)

    assert np.array_equal(run_tiled(network, x, tile=(side, side + 16), overlap=8, multiple=8), neighbours(x))
    assert len(seen) == 1  # a runtime keeps memory for every size


def test_tiles_take_their_part_of_the_coarse_along() -> None:
    rng = np.random.default_rng(0)
    x, coarse = rng.random((2, 3, 72, 104)), rng.random((2, 3, 36, 52))

    def network(given: np.ndarray) -> np.ndarray:
        assert given.shape[1] == 6
        made = neighbours(given)
        return made[:, :3] - 2 * made[:, 3:]

    whole = network(join(x, coarse, out=np.empty((2, 6, 72, 104))))
    out = np.empty_like(x)
    tiled = run_tiled(network, x, tile=(32, 48), overlap=8, multiple=8, coarse=coarse, out=out)
    assert tiled is out
    assert np.array_equal(tiled, whole)
    joined = join(x, coarse, out=np.empty((2, 6, 72, 104)))
    assert np.allclose(halved(lambda a, b: joined[:, 3:, a:b], (104, 72), multiple=8), coarse)


@pytest.mark.parametrize("size", [(1, 1), (3, 130), (65, 64), (71, 90), (127, 8), (129, 5)])
def test_a_border_is_mirrored_to_whole_cells_without_a_copy_of_the_picture(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    height, width = size
    x = rng.random((2, 3, height, width))
    continued = np.pad(x, ((0, 0), (0, 0), (0, -height % 16), (0, -width % 16)), mode="symmetric")
    assert np.array_equal(fill(x, out=np.empty_like(continued)), continued)
    halves = halved(lambda a, b: x[:, :, a:b], (width, height), multiple=16)
    assert np.array_equal(halves, half(x, multiple=16))
    assert np.allclose(halves, continued.reshape(2, 3, continued.shape[2] // 2, 2, -1, 2).mean(axis=(3, 5)))
    coarse = rng.random(halves.shape)

    def network(given: np.ndarray) -> np.ndarray:
        assert given.shape[2] % 16 == given.shape[3] % 16 == 0
        made = neighbours(given)
        return made[:, :3] - 2 * made[:, 3:]

    expected = network(join(continued, coarse, out=np.empty((2, 6, *continued.shape[2:]))))[:, :, :height, :width]
    tiled = run_tiled(network, x, tile=(64, 80), overlap=16, multiple=16, coarse=coarse)
    assert np.array_equal(tiled, expected)


def test_the_residual_of_all_scales_is_that_of_the_networks_in_torch() -> None:
    torch = pytest.importorskip("torch")
    from golfdeblur.learning.networks import ResidualUNet

    torch.manual_seed(0)
    network = ResidualUNet((4, 8), (1, 1), scales=4).eval()
    torch.nn.init.normal_(network.tail[0].weight, std=0.02)
    x = np.random.default_rng(0).random((1, 3, 75, 131), np.float32)

    def one_scale(x: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        cells = [n + -n % network.multiple_px for n in x.shape[2:]]
        given = join(x, coarse, out=np.empty((1, 6, *cells), np.float32))
        return x + network(torch.from_numpy(given)).detach().numpy()[:, :, : x.shape[2], : x.shape[3]]

    for scales in (1, 2, 4):
        with torch.no_grad():
            expected = network._many_scales(torch.from_numpy(x), scales).numpy()
        assert np.abs(residual(one_scale, x, scales, multiple=network.multiple_px) - expected).max() < 1e-6


def test_too_small_an_overlap_shows() -> None:
    x = np.random.default_rng(0).random((1, 3, 64, 64))
    assert not np.array_equal(run_tiled(neighbours, x, tile=(16, 16), overlap=0, multiple=8), neighbours(x))


def test_the_best_tile_fits_and_reads_little() -> None:
    # 24 megapixels: two rows of three tiles read 11 % more than the photo.
    tile = best_tile((4000, 6000), tile_px=5_000_000, overlap=96, multiple=8)
    assert tile == (2096, 2128)
    assert pixels_read((4000, 6000), tile, overlap=96) == 2 * 2096 * 3 * 2128
    for size in ((4000, 6000), (150, 201), (64, 5000), (8, 8)):
        for tile_px in (100_000, 1_000_000):
            rows, columns = best_tile(size, tile_px=tile_px, overlap=96, multiple=8)
            assert rows % 8 == columns % 8 == 0
            assert rows * columns <= tile_px
            for length, stretch in zip(size, (rows, columns), strict=True):
                list(spans(length, stretch, overlap=96, multiple=8))  # refuses what leaves nothing of a stretch
    assert best_tile((400, 400), tile_px=64, overlap=96, multiple=8) == (200, 200)


@pytest.mark.parametrize("length", [8, 104, 101, 1000])
@pytest.mark.parametrize("size", [40, 48, 104, 2000])
def test_spans_are_of_one_size_and_cover_everything_once(length: int, size: int) -> None:
    found = list(spans(length, size, overlap=16, multiple=8))
    assert [i for span in found for i in range(*span.keep)] == list(range(length))
    end = length + -length % 8
    assert {span.read[1] - span.read[0] for span in found} == {min(size, end)}
    assert len(found) == count(end, size, overlap=16)
    for span in found:
        assert span.keep[0] - span.read[0] >= 16 or span.read[0] == 0
        assert span.read[1] - span.keep[1] >= 16 or span.read[1] == end


@pytest.mark.parametrize("wrong", [{"size": 36}, {"size": 0}, {"size": 16}, {"overlap": 3}])
def test_tiles_that_miss_the_cells_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        list(spans(64, **{"size": 32, "overlap": 8, "multiple": 8, **wrong}))


@pytest.mark.parametrize("height", [8, 64, 101, 136])
@pytest.mark.parametrize("rows", [16, 32, 128])
@pytest.mark.parametrize("block", [5, 40, 200])
def test_strips_of_two_networks_equal_the_full_frames(height: int, rows: int, block: int) -> None:
    x = np.random.default_rng(0).random((1, 3, height, 40))
    blocks = (x[:, :, top : top + block] for top in range(0, height, block))
    first = in_strips(neighbours, blocks, height, size=rows + 16, overlap=8, multiple=8)
    second = in_strips(neighbours, (out for _, out in first), height, size=40, overlap=8, multiple=8)
    given, made = (np.concatenate(parts, axis=2) for parts in zip(*second, strict=True))
    assert np.array_equal(given, neighbours(x))
    assert np.array_equal(made, neighbours(neighbours(x)))


@pytest.mark.parametrize("size", [(32, 32), (300, 40), (41, 129), (96, 97)])
def test_faded_tiles_give_every_pixel_the_weight_one(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((1, 3, size[1], size[0])).astype(np.float32)
    blocks = faded(lambda t: 2 * t, lambda a, b: x[:, :, a:b], size, side=32, overlap=8)
    assert np.allclose(np.concatenate(list(blocks), axis=2), 2 * x, atol=1e-6)


def test_faded_tiles_show_no_seams() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32), (1, 3, 150, 200))

    def with_own_statistics(tile: np.ndarray) -> np.ndarray:
        return tile - tile.mean()

    blocks = faded(with_own_statistics, lambda a, b: ramp[:, :, a:b], (200, 150), side=64, overlap=16)
    made = np.concatenate(list(blocks), axis=2)
    hard = run_tiled(with_own_statistics, np.ascontiguousarray(ramp), tile=(40, 40), overlap=0, multiple=8)
    seam = float(np.abs(np.diff(hard, axis=3)).max())
    assert float(np.abs(np.diff(made, axis=3)).max()) < seam / 8
