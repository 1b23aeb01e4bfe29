import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.errors import DataError, ImageError
from golfdeblur.files import image
from golfdeblur.learning import blur, data
from golfdeblur.learning import sources as sourcing
from golfdeblur.learning.data import Photo
from golfdeblur.learning.mixture import Mixture, MixtureConfig
from golfdeblur.learning.recipe import read_recipe
from golfdeblur.learning.sources import PairSource, PhotoSource, VideoSource

CPU = torch.device("cpu")
SMALL = MixtureConfig(batch=4, patch_px=32, block_px=48, block_pairs=6, steps_per_block=3, blocks_kept=2)
BLUR = blur.BlurConfig(length_px=(2, 8), centre_px=50)


def noise(seed: int, side: int = 160) -> torch.Tensor:
    return torch.randint(0, 256, (3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def sources() -> list[tuple[sourcing.Source, float]]:
    photos = PhotoSource([Photo.of("photo", noise(0)), Photo.of("other", noise(1))], BLUR)
    pairs = PairSource([(noise(2), noise(3), "pair")])
    video = VideoSource(torch.stack([noise(i, 64) for i in range(15)]), "clip", BLUR)
    return [(photos, 0.6), (pairs, 0.2), (video, 0.2)]


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards, other = Mixture(sources(), SMALL, CPU), Mixture(sources(), SMALL, CPU)
    wanted = [forwards.batch(step) for step in range(10)]
    for step in (7, 2, 9):
        again = other.batch(step)
        assert torch.equal(again.blurry, wanted[step].blurry)
        assert torch.equal(again.sharp, wanted[step].sharp)
        assert again.names == wanted[step].names
    reseeded = Mixture(sources(), SMALL, CPU, seed=1).batch(7)
    assert not torch.equal(reseeded.sharp, wanted[7].sharp)


def test_blocks_made_ahead_are_the_same() -> None:
    small = dataclasses.replace(SMALL, streams=2)
    here, ahead = Mixture(sources(), small, CPU), Mixture(sources(), small, CPU, workers=2)
    for step in (0, 1, 2, 3, 9, 10, 30, 5):  # also steps that do not follow each other
        wanted, found = here.batch(step), ahead.batch(step)
        assert torch.equal(found.blurry, wanted.blurry)
        assert torch.equal(found.sharp, wanted.sharp)
        assert found.names == wanted.names


def test_pairs_are_made_on_the_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor without values stands for a GPU's: to mix it with the CPU's, or to look at its values, is an error."""

    class Generator:  # there is none for that device
        def __new__(cls, device: str = "cpu", make: type = torch.Generator) -> torch.Generator:
            return make("cpu")

    monkeypatch.setattr(torch, "Generator", Generator)
    (photos, share), *others = sources()
    assert isinstance(photos, PhotoSource)
    every = {
        "layers": 0.5,
        "shaken": 0.3,
        "defocused": 0.5,
        "photographed": 0.5,
        "linear_light": 0.5,
        "saturated": 0.5,
        "jpeg": 1.0,
        "toned": 0.5,
        "reduction": 1.5,
    }
    photos = PhotoSource(photos.photos, dataclasses.replace(BLUR, **every))
    config = dataclasses.replace(SMALL, block_pairs=24)
    batch = Mixture([(photos, share), *others], config, torch.device("meta"), workers=1).batch(0)
    assert batch.blurry.device.type == batch.sharp.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):
        _ = batch.blurry + torch.ones(4, 3, 32, 32)


def test_batches_have_the_shape_and_range_of_images() -> None:
    mixture = Mixture(sources(), SMALL, CPU)
    batch = mixture.batch(5)
    assert batch.blurry.shape == batch.sharp.shape == (4, 3, 32, 32)
    assert batch.blurry.dtype == torch.float32
    assert 0 <= float(batch.blurry.min()) <= float(batch.blurry.max()) <= 1
    assert mixture.seconds_waited > 0
    names = {name.split("#")[0] for number in range(6) for name in mixture.block(number).names}
    assert names == {"photo", "other", "pair", "clip"}


def test_identity_pairs_are_identical() -> None:
    block = Mixture(sources(), dataclasses.replace(SMALL, identity=1.0), CPU).block(0)
    assert torch.equal(block.blurry, block.sharp)


def test_a_patch_keeps_blurry_and_sharp_together() -> None:
    same = noise(0)
    pairs = PairSource([(same, same, "same")])
    batch = Mixture([(pairs, 1.0)], SMALL, CPU).batch(4)
    assert torch.equal(batch.blurry, batch.sharp)


@pytest.mark.parametrize("linear", [False, True])
def test_a_clip_is_averaged_in_the_light_asked_for(linear: bool) -> None:
    clip = torch.stack([torch.full((3, 4, 4), v) for v in (0.0, 0.5, 1.0)])
    blurry, sharp = sourcing.average_clip(clip, linear=linear)
    expected = ((0.5**2.2 + 1) / 3) ** (1 / 2.2) if linear else 0.5
    assert float(blurry.mean()) == pytest.approx(expected)
    assert float(sharp.mean()) == 0.5


def write(path: Path, side: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(path)
    return path


def test_pairs_are_found_at_any_depth(tmp_path: Path) -> None:
    for scene in ("a", "b/c"):
        for part in ("blur", "blur_gamma", "sharp"):
            write(tmp_path / scene / part / "1.png")
    assert [name for name, _, _ in image.find_pairs(tmp_path)] == ["a/1.png", "b/c/1.png"]
    assert image.find_pairs(tmp_path, blurry="blur_gamma")[0][1].parent.name == "blur_gamma"
    assert len(data.load_pairs(tmp_path)) == 2


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pairs"):
        data.load_pairs(tmp_path)
    with pytest.raises(DataError, match="too few photographs"):
        data.load_photos(tmp_path)
    with pytest.raises(ImageError, match="not a folder"):
        data.load_photos(tmp_path / "none")
    write(tmp_path / "blur" / "1.png")
    (tmp_path / "sharp").mkdir()
    with pytest.raises(DataError, match=r"1\.png"):
        data.load_pairs(tmp_path)
    write(tmp_path / "sharp" / "1.png", side=32)
    with pytest.raises(DataError, match="differ in size"):
        data.load_pairs(tmp_path)
    write(tmp_path / "sharp" / "1.png")
    with pytest.raises(DataError, match="Smaller than 100"):
        data.load_pairs(tmp_path, smallest_px=100)
    for name in ("1.png", "2.png"):
        for part in ("blur", "sharp"):
            (tmp_path / part / name).write_text("no image")
    with pytest.raises(DataError) as caught:
        data.load_pairs(tmp_path)
    assert str(caught.value).count("is not an image") >= 2  # all of them, not the first


def test_held_out_photos_are_never_trained_on(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path / f"{i:02}.png")
    kept = {p.name for p in data.load_photos(tmp_path)}
    held = {p.name for p in data.load_photos(tmp_path, held_out=True)}
    assert held == {"00.png", "13.png", "26.png"}
    assert len(kept) == 27
    assert not kept & held


def test_a_video_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(DataError, match="cannot be read as a video"):
        data.load_video(tmp_path / "clip.mp4")


def test_a_patch_larger_than_its_block_is_refused() -> None:
    with pytest.raises(DataError, match="larger than block_px"):
        MixtureConfig(patch_px=300, block_px=256)


def test_statistics_of_a_known_pair() -> None:
    ramp = torch.arange(64).float()[None, None, None].expand(2, 3, 64, 64) / 255
    found = data.statistics(ramp + 0.1, ramp)
    assert found["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["gradient"] == pytest.approx(0.5, abs=1e-4)
    assert found["laplacian"] == pytest.approx(0, abs=1e-4)
    assert found["gradient_ratio"] == pytest.approx(1, abs=1e-4)


def test_crops_prefer_texture_in_focus() -> None:
    flat = Photo.of("flat", torch.full((3, 160, 160), 100, dtype=torch.uint8))
    source = PhotoSource([flat, Photo.of("crisp", noise(0))], BLUR)
    generator = torch.Generator().manual_seed(0)
    names = [name for _, _, name in source.crops(generator, 60, size_px=48, device=CPU)]
    assert names.count("crisp") > 50


def test_half_of_the_crops_are_made_smaller() -> None:
    ramp = Photo.of("ramp", torch.linspace(0, 255, 240).round().byte().expand(3, 240, 240))
    still = blur.BlurConfig(
        length_px=(0, 0), spin_degrees=0, zoom=0, layers=0, noise_sigma=(0, 0), jpeg=0, reduction=1.8
    )
    crops = PhotoSource([ramp], still).crops(torch.Generator().manual_seed(0), 60, size_px=48, device=CPU)
    slopes = torch.tensor([float((s[..., 40] - s[..., 8]).mean()) / 32 * 239 for _, s, _ in crops])
    assert 20 <= int((slopes < 1.02).sum()) <= 40
    assert 1.6 < float(slopes.max()) < 1.9
    # A photo too small for the reduction is made smaller by as much as it allows.
    side = 48 + 2 * still.margin_px
    small = Photo.of("small", ramp.pixels[:, : side + 4, : side + 4])
    (_, sharp, _), *_ = PhotoSource([small], still).crops(torch.Generator().manual_seed(0), 9, size_px=48, device=CPU)
    assert sharp.shape == (3, 48, 48)


def test_toned_crops_keep_the_order_of_their_pixels_and_clip_nothing() -> None:
    still = blur.BlurConfig(length_px=(0, 0), spin_degrees=0, zoom=0, layers=0, soften_sigma_px=(0, 0), toned=1)
    side = 120 + 2 * still.margin_px
    ramp = Photo.of("ramp", torch.linspace(40, 255, side).round().byte().expand(3, side, side))
    crops = PhotoSource([ramp], still).crops(torch.Generator().manual_seed(0), 30, size_px=120, device=CPU)
    for _, sharp, _ in crops:
        assert bool((sharp.diff(dim=-1) > 0).all())
    brightness = torch.tensor([float(s.mean()) for _, s, _ in crops])
    assert float(brightness.std()) > 0.05
    colours = torch.stack([s.mean((1, 2)) for _, s, _ in crops])
    assert float((colours.amax(1) - colours.amin(1)).mean()) > 0.02


RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.mark.parametrize("name", ["paper-f", "paper-g"])
def test_the_papers_recipes_cut_fresh_crops_each_step_and_flip_them_alone(name: str) -> None:
    config = dataclasses.replace(read_recipe(RECIPES / f"{name}.toml").mixture, patch_px=64, block_px=64)
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    places = torch.stack([rows, columns, torch.zeros_like(rows)]).byte()
    mixture = Mixture([(PairSource([(places, places, "places")]), 1.0)], config, CPU)
    corners, flips = [], set()
    for step in range(60):
        batch = mixture.batch(step)
        assert torch.equal(batch.blurry, batch.sharp)
        for patch in (255 * batch.sharp).round().int():
            assert (patch[0].diff(dim=1) == 0).all(), "turned by a quarter"
            corners.append((int(patch[0].min()), int(patch[1].min())))
            flips.add((bool(patch[0, 0, 0] > patch[0, 1, 0]), bool(patch[1, 0, 0] > patch[1, 0, 1])))
    assert len(flips) == 4
    assert len(corners) == 240
    # Of 193 x 193 corners, 240 draws meet one twice with a probability of less than one half.
    assert len(set(corners)) >= 236


def test_other_recipes_turn_patches_by_quarters_too() -> None:
    rows = torch.arange(64)[:, None].expand(3, 64, 64).byte()
    mixture = Mixture([(PairSource([(rows, rows, "rows")]), 1.0)], SMALL, CPU)
    turned = [bool((patch.diff(dim=2) != 0).any()) for step in range(10) for patch in mixture.batch(step).sharp]
    assert 10 < sum(turned) < 30
