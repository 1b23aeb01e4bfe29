"""The rivals: each restores a picture that it can, on the numerics of `deconvolution`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golfdeblur import evaluate, metrics
from golfdeblur.deconvolution import pyramid
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.errors import DataError, ImageError
from golfdeblur.experiments import rivals
from golfdeblur.experiments.rivals import dark_channel, hyper_laplacian, richardson_lucy

from .test_cli import fails, golf
from .test_deconvolution import blurred, drawn, hand_shake


def pixels(plane: np.ndarray) -> np.ndarray:
    return np.rint(255 * plane.clip(0, 1)).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    y, x = blurred(drawn(160), hand_shake())
    return pixels(y), pixels(x)


def psnr(made: np.ndarray, sharp: np.ndarray) -> float:
    return metrics.psnr(*metrics.at_best_shift(made, sharp, 5))


@pytest.mark.parametrize("name", rivals.KNOWN)
def test_with_the_true_kernel(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    y, x = pair
    assert psnr(rivals.known(y, name, Kernel(hand_shake())), x) > psnr(y, x) + 4


@pytest.mark.parametrize(("name", "least_db"), [("l0", 4), ("dark-channel", 4), ("normalised-sparsity", 0.3)])
def test_blind(name: str, least_db: float, pair: tuple[np.ndarray, np.ndarray]) -> None:
    y, x = pair
    assert psnr(rivals.blind(y, name, side=17), x) > psnr(y, x) + least_db


@pytest.mark.parametrize("name", rivals.BLIND)
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (24, 24)])
def test_small_and_flat_pictures_are_borne(name: str, size: tuple[int, int]) -> None:
    flat = np.full((*size, 3), 90, np.uint8)
    assert abs(rivals.blind(flat, name, side=9).astype(int) - flat).max() <= 1


def test_the_kernel_s_light_counts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    y, x = pair
    made = [psnr(rivals.known(y, "tv", Kernel(hand_shake(), light)), x) for light in ("srgb", "linear")]
    assert made[0] > made[1] + 2


def test_richardson_lucy_is_scikit_image_s(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    y, taps = pair[0][..., 0].astype(np.float32) / 255, hand_shake()
    theirs = restoration.richardson_lucy(np.pad(y, 30, "reflect"), taps, num_iter=15, clip=False)[30:-30, 30:-30]
    ours = richardson_lucy.restored(y, taps, steps=15)
    assert abs(ours - theirs)[30:-30, 30:-30].mean() < 2 / 255


def test_wiener_agrees_with_scikit_image_s(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    y, x = pair
    theirs, _ = restoration.unsupervised_wiener(y[..., 0] / 255, hand_shake(), rng=0)
    ours = rivals.known(y, "wiener", Kernel(hand_shake()))
    assert psnr(ours, x) > psnr(pixels(theirs), x) - 1


def test_the_table_holds_the_least_of_its_function() -> None:
    values, penalty = np.linspace(-1, 1, 41), 8.0
    w = np.linspace(-1.5, 1.5, 30_001)
    costs = abs(w) ** (2 / 3) + penalty / 2 * (w - values[:, None]) ** 2
    found = hyper_laplacian.shrunk(values, penalty)
    reached = abs(found) ** (2 / 3) + penalty / 2 * (found - values) ** 2
    assert reached == pytest.approx(costs.min(1), abs=2e-3)


def test_darkened_pixels_are_the_darkest_of_a_patch() -> None:
    x = np.random.default_rng(0).random((80, 90), np.float32)
    assert (dark_channel.darkened(x, 0.0) == x).all()
    changed = np.argwhere(dark_channel.darkened(x, 1.0) != x)
    assert 0 < len(changed) < 60
    for row, column in changed:
        assert x[row, column] <= np.sort(x.ravel())[len(x.ravel()) // 50]


def test_sizes_grow_to_the_whole() -> None:
    scales = list(pyramid._scales(51))
    assert scales[-1] == 1
    assert 5 <= 51 * scales[0] < 7.2
    assert list(pyramid._scales(3)) == [1]


def test_the_command_measures_them_like_a_model(tmp_path: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    for folder, image in zip(("blur", "sharp"), pair, strict=True):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "set" / folder / "a.png")
    arguments = ("evaluate", tmp_path / "set", "--best-shift", 5, "--method")
    fails(golf(*arguments, "tv"), "kernel/a.npy", "cannot be read")
    (tmp_path / "set" / "kernel").mkdir()
    np.save(tmp_path / "set" / "kernel" / "a.npy", hand_shake())
    made = golf(*arguments, "tv", "--json", tmp_path / "tv.json")
    assert made.returncode == 0, made.stderr
    found = json.loads((tmp_path / "tv.json").read_text())
    assert found["model"] == "tv"
    assert found["runtime"] == "numpy"
    assert found["mean"]["psnr"] > found["input_mean"]["psnr"] + 4
    assert found["images"][0]["seconds"] > 0
    fails(golf(*arguments, "magic"), "'magic' is unknown", "l0", "hyper-laplacian")


def test_the_true_kernel_comes_with_its_light(tmp_path: Path) -> None:
    blurry = tmp_path / "blur" / "a.png"
    (tmp_path / "kernel").mkdir()
    with pytest.raises(ImageError, match=r"a\.npy"):
        evaluate.true_kernel(blurry)
    np.save(tmp_path / "kernel" / "a.npy", hand_shake())
    assert evaluate.true_kernel(blurry).light == "srgb"
    (tmp_path / "meta.json").write_text('{"a": {"light": "linear"}}')
    assert evaluate.true_kernel(blurry).light == "linear"
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(DataError, match="make the set again"):
        evaluate.true_kernel(blurry)
