from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.errors import ConfigError, DataError
from golfdeblur.learning import data, pairs
from golfdeblur.learning.blur import BlurConfig
from golfdeblur.learning.mixture import MixtureConfig
from golfdeblur.learning.recipe import Recipe
from golfdeblur.learning.sources import SourceConfig, load_sources

from .test_cli import fails, here


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of a bright bar that moves over a dark ground, stored without loss."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=240)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for i in range(40):
            pixels = np.full((48, 64, 3), 20, np.uint8)
            pixels[:, i : i + 8] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (60, 60, 3), np.uint8)
        Image.fromarray(pixels).resize((240, 240)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("light", ["srgb", "linear"])
def test_frames_are_averaged_around_the_middle_one(clip: Path, light: str) -> None:
    frames = data.load_video(clip).float() / 255
    first = 0
    for blurry, sharp, name in pairs.pairs_from_video(clip, frames=(7, 13), light=light):
        start, count = map(int, name.split("-"))
        assert start == first
        assert count in (7, 9, 11, 13)
        gamma = 2.2 if light == "linear" else 1.0
        expected = (frames[start : start + count] ** gamma).mean(0) ** (1 / gamma)
        assert torch.equal(sharp.float(), (255 * frames[start + count // 2]).round())
        assert float((blurry / 255 - expected).abs().max()) <= 0.5 / 255 + 1e-6
        first += count
    assert 40 - 13 < first <= 40  # no frame twice, none left out but a rest too short


def test_a_clip_that_a_recipe_could_not_cut_is_refused_before_training(clip: Path) -> None:
    def load(frames: tuple[int, ...], side: int) -> int:
        recipe = Recipe(
            mixture=MixtureConfig(patch_px=16, block_px=side),
            blur=BlurConfig(frames=frames),
            sources=(SourceConfig("clip", "video"),),
        )
        return len(load_sources(recipe.sources, {"clip": clip}, recipe.blur, block_px=recipe.mixture.block_px))

    assert load((7, 39), 48) == 1
    with pytest.raises(DataError, match="holds 40 video frames; give a clip with at least 41"):
        load((7, 41), 48)
    with pytest.raises(DataError, match="64 x 48 px, smaller than 49 px"):
        load((7,), 49)


def test_pairs_from_photos_depend_on_the_seed(photos: Path) -> None:
    def made(seed: int) -> list[torch.Tensor]:
        return [b for b, _, _ in pairs.pairs_from_photos(photos, count=10, light="srgb", size_px=64, seed=seed)]

    assert len(made(0)) == 10
    assert all(torch.equal(a, b) for a, b in zip(made(0), made(0), strict=True))
    assert not torch.equal(made(0)[0], made(1)[0])


def test_linear_light_is_brighter(photos: Path) -> None:
    def brightening(light: str) -> float:
        found = pairs.pairs_from_photos(photos, count=8, light=light, size_px=64)
        return float(torch.stack([b.float().mean() - s.float().mean() for b, s, _ in found]).mean())

    assert brightening("linear") > brightening("srgb") + 1


def test_wrong_wishes_get_a_sentence(tmp_path: Path, clip: Path, photos: Path) -> None:
    with pytest.raises(ConfigError, match="no odd count"):
        list(pairs.pairs_from_video(clip, frames=(8, 8), light="srgb"))
    with pytest.raises(ConfigError, match="use srgb"):
        list(pairs.pairs_from_video(clip, frames=(7, 7), light="dark"))
    with pytest.raises(DataError, match="only 40 frames"):
        list(pairs.pairs_from_video(clip, frames=(99, 99), light="srgb"))
    with pytest.raises(DataError, match="Smaller than"):
        list(pairs.pairs_from_photos(photos, count=1, light="srgb", size_px=400))
    for content in (b"no video", clip.read_bytes().replace(b"FFV1", b"NONE")):  # the latter of an unknown codec
        (tmp_path / "clip.mp4").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a video"):
            list(pairs.pairs_from_video(tmp_path / "clip.mp4", frames=(7, 7), light="srgb"))


def test_the_commands_write_folders_that_train(tmp_path: Path, clip: Path, photos: Path) -> None:
    made = here("data", "pairs-from-photos", photos, "-n", "3", "--size", "64", "--out", tmp_path / "a")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("3 pairs in ")
    assert len(data.load_pairs(tmp_path / "a")) == 3
    again = here("data", "pairs-from-photos", photos, "-n", "3", "--size", "64", "--out", tmp_path / "a")
    fails(again, "holds pairs already")
    made = here("data", "pairs-from-video", clip, "--frames", "7", "--light", "linear", "--out", tmp_path / "b")
    assert made.returncode == 0, made.stderr
    assert len(data.load_pairs(tmp_path / "b")) == 5
    assert not list(tmp_path.rglob("*.part"))
    fails(here("data", "pairs-from-video", clip, "--frames", "some", "--out", tmp_path / "c"), "7-13")
    fails(here("data", "pairs-from-video", tmp_path / "none.mp4", "--out", tmp_path / "c"), "none.mp4")
