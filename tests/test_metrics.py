import numpy as np
import pytest
from skimage import metrics as oracle

from golfdeblur import metrics
from golfdeblur.errors import DataError


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:60, 0:83]
    base = 120 + 80 * np.sin(rows / 5.0)[:, :, None] * np.cos(columns / 7.0)[:, :, None] * np.ones(3)
    sharp = np.clip(base + rng.normal(0, 10, base.shape), 0, 255).astype(np.uint8)
    x = np.clip(base + rng.normal(0, 25, base.shape), 0, 255).astype(np.uint8)
    return x, sharp


def test_psnr_is_scikit_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, sharp = pair
    assert metrics.psnr(x, sharp) == pytest.approx(oracle.peak_signal_noise_ratio(sharp, x))
    assert metrics.psnr(sharp, sharp) == float("inf")


def test_uniform_7_is_scikit_images_default(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, sharp = pair
    expected = oracle.structural_similarity(x, sharp, channel_axis=2)
    assert metrics.ssim(x, sharp, "uniform-7") == pytest.approx(expected, abs=1e-10)


def test_gaussian_2d_is_scikit_images_wang(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, sharp = pair
    expected = oracle.structural_similarity(
        x, sharp, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(x, sharp, "gaussian-2d") == pytest.approx(expected, abs=1e-6)


def test_gaussian_3d_filters_the_volume_as_scipy_does(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from scipy.ndimage import gaussian_filter

    x, sharp = (v.astype(np.float64) for v in pair)

    def blur(v: np.ndarray) -> np.ndarray:
        return gaussian_filter(v, 1.5, radius=5, mode="nearest")

    mx, my = blur(x), blur(sharp)
    vx, vy, vxy = blur(x * x) - mx**2, blur(sharp**2) - my**2, blur(x * sharp) - mx * my
    c1, c2 = 6.5025, 58.5225
    expected = ((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    assert metrics.ssim(*pair, "gaussian-3d") == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_equal_images_score_one_and_the_order_does_not_matter(
    protocol: str, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    x, sharp = pair
    assert metrics.ssim(x, x, protocol) == pytest.approx(1)
    assert metrics.ssim(x, sharp, protocol) == pytest.approx(metrics.ssim(sharp, x, protocol))


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 5)])
def test_a_picture_that_lies_elsewhere_is_found_again(
    shift: tuple[int, int], pair: tuple[np.ndarray, np.ndarray]
) -> None:
    _, sharp = pair
    moved, target = metrics.at_best_shift(np.roll(sharp, shift, (0, 1)), sharp, 5)
    assert np.array_equal(moved, target)
    assert np.array_equal(target, sharp[5:-5, 5:-5])


def test_a_best_shift_is_found_to_a_quarter_of_a_pixel() -> None:
    rows, columns = np.mgrid[0:40, 0:50]

    def wave(down: float, right: float) -> np.ndarray:
        grey = 128 + 60 * np.sin((rows + down) / 4) * np.cos((columns + right) / 5)
        return np.rint(grey)[:, :, None].repeat(3, axis=2).astype(np.uint8)

    sharp, x = wave(0, 0), wave(1.75, -0.5)
    whole = max(
        metrics.psnr(x[down : down + 34, right : right + 44], sharp[3:-3, 3:-3])
        for down in range(7)
        for right in range(7)
    )
    found = metrics.psnr(*metrics.at_best_shift(x, sharp, 3))
    assert found > 45
    assert found > whole + 10


def test_what_cannot_be_compared(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, sharp = pair
    with pytest.raises(DataError, match="one size"):
        metrics.psnr(x[1:], sharp)
    with pytest.raises(DataError, match="uint8"):
        metrics.psnr(x / 255.0, sharp)
    with pytest.raises(DataError, match="unknown"):
        metrics.ssim(x, sharp, "nice")
    with pytest.raises(DataError, match=r"up to 25 px .* 61 px .* 83x60"):
        metrics.at_best_shift(x, sharp, 25)
    with pytest.raises(DataError, match="11 px"):
        metrics.ssim(x[:10], sharp[:10], "gaussian-2d")
