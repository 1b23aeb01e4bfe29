import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.errors import ConfigError
from golfdeblur.learning import blur, motion, uniform
from golfdeblur.learning.blur import BlurConfig
from golfdeblur.learning.jpeg import jpeg
from golfdeblur.learning.motion import CameraPath, Exposure


def texture(batch: int = 2, side: int = 96, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, side, side, generator=generator)


def paths(batch: int = 2, seed: int = 1) -> CameraPath:
    return blur.random_paths(torch.Generator().manual_seed(seed), batch, BlurConfig(length_px=(10, 20), spin_degrees=3))


def path_kernel(path: CameraPath, exposure: Exposure, side: int) -> torch.Tensor:
    """Return the (B, side, side) kernels of sum 1 that the paths' translations draw."""
    still = CameraPath(path.velocity, path.bend, *(torch.zeros_like(v) for v in (path.spin, path.zoom, path.centre)))
    point = torch.zeros(len(path.velocity), 1, side, side)
    point[:, :, side // 2, side // 2] = 1
    kernel = motion.average_frames(point, still, exposure, size_px=side)[0][:, 0]
    return kernel / kernel.sum((-2, -1), keepdim=True)


def test_bends_are_as_configured_and_never_more_than_half_the_length() -> None:
    config = BlurConfig(length_px=(2, 40), bend_px=(1.6, 6.0))
    path = blur.random_paths(torch.Generator().manual_seed(0), 4000, config)
    bend, half = path.bend.norm(dim=1), path.velocity.norm(dim=1)
    long = half > 6
    assert float(bend[long].median()) == pytest.approx(1.6, rel=0.1)
    assert float(bend.max()) == pytest.approx(6.0)
    assert bool((bend <= half + 1e-4).all())


@pytest.mark.parametrize("exposure", [Exposure(7), Exposure(13, samples=1), Exposure(9, samples=3, open_share=0.5)])
@pytest.mark.parametrize("layered", [False, True])
def test_reversing_the_path_leaves_both_images_unchanged(exposure: Exposure, layered: bool) -> None:
    source, path, other = texture().double(), paths(), paths(seed=5)
    path, other = (CameraPath(*(v.double() for v in vars(p).values())) for p in (path, other))

    def pair(back: bool) -> tuple[torch.Tensor, torch.Tensor]:
        layer = None
        if layered:
            mask = motion.random_masks(torch.Generator().manual_seed(3), 2, 96).double()
            layer = motion.Layer(source.flip(0), mask, other.reversed() if back else other)
        return motion.average_frames(source, path.reversed() if back else path, exposure, size_px=48, layer=layer)

    for forth, back in zip(pair(False), pair(True), strict=True):
        assert torch.allclose(forth, back, atol=1e-12)


def test_the_target_is_the_still_image_when_each_frame_is_one_instant() -> None:
    source = texture()
    _, target = motion.average_frames(source, paths(), Exposure(9, samples=1), size_px=48)
    assert torch.allclose(target, source[..., 24:72, 24:72], atol=1e-5)


def test_a_translation_is_the_convolution_with_its_kernel() -> None:
    still = torch.zeros(1)
    path = CameraPath(torch.tensor([[6.0, 3.0]]), torch.tensor([[1.0, -2.0]]), still, still, torch.zeros(1, 2))
    exposure = Exposure(11)
    source = texture(1, 64).double()
    averaged, _ = motion.average_frames(
        source, CameraPath(*(v.double() for v in vars(path).values())), exposure, size_px=40
    )
    kernel = path_kernel(path, exposure, 25)[0]
    assert float(kernel.sum()) == pytest.approx(1)
    # 64 - 25 + 1 = 40 pixels are left where the kernel lies inside.
    assert torch.allclose(averaged, uniform.convolve(source, kernel), atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_same_seed_gives_the_same_pairs(share: float) -> None:
    config = BlurConfig(noisy=1.0, jpeg=1.0, shaken=share, defocused=share)
    source = texture(4, 64 + 2 * config.margin_px)
    pairs = [blur.random_pairs(source, torch.Generator().manual_seed(s), config, size_px=64) for s in (7, 7, 8)]
    assert torch.equal(pairs[0][0], pairs[1][0])
    assert torch.equal(pairs[0][1], pairs[1][1])
    assert not torch.equal(pairs[0][0], pairs[2][0])


def test_pairs_lie_in_range_and_longer_paths_blur_more() -> None:
    def psnr_db(length: float) -> float:
        config = BlurConfig(length_px=(length, length), layers=0, jpeg=0, noisy=0)
        side = 64 + 2 * config.margin_px
        source = torch.nn.functional.interpolate(
            texture(4, side // 4, seed=3), size=(side, side), mode="bicubic"
        ).clamp(0, 1)
        y, x = blur.random_pairs(source, torch.Generator().manual_seed(0), config, size_px=64)
        assert y.shape == x.shape == (4, 3, 64, 64)
        assert 0 <= float(y.min()) <= float(y.max()) <= 1
        return -10 * math.log10(float(((y - x) ** 2).mean()))

    assert psnr_db(1) > psnr_db(6) > psnr_db(30)


def test_linear_light_differs_from_srgb_and_keeps_the_target() -> None:
    pairs = {}
    for share in (0.0, 1.0):
        config = BlurConfig(linear_light=share, layers=0, jpeg=0, noisy=0, noise_sigma=(0, 0), length_px=(12, 12))
        source = texture(2, 64 + 2 * config.margin_px)
        pairs[share] = blur.random_pairs(source, torch.Generator().manual_seed(0), config, size_px=64)
    assert float(pairs[1.0][0].mean()) > float(pairs[0.0][0].mean()) + 0.01  # light outweighs shade


def test_a_saturated_light_leaves_a_white_streak() -> None:
    config = BlurConfig(
        linear_light=1,
        saturated=1,
        highlight_gain=(5, 5),
        length_px=(24, 24),
        bend_px=(0, 0),
        layers=0,
        jpeg=0,
        noisy=0,
    )
    side = 64 + 2 * config.margin_px
    lamp = torch.full((1, 3, side, side), 0.1)
    middle = slice(side // 2 - 4, side // 2 + 4)
    lamp[:, :, middle, middle] = 1

    def pair(config: BlurConfig) -> tuple[torch.Tensor, torch.Tensor]:
        return blur.random_pairs(lamp, torch.Generator().manual_seed(0), config, size_px=64)

    (bright, target), (plain, same) = pair(config), pair(dataclasses.replace(config, highlight_gain=(1, 1)))
    assert float(target.max()) == float(same.max()) == pytest.approx(1)
    white = [float((y > 0.99).float().sum()) for y in (bright, plain)]
    assert white[0] > 100 > white[1]
    assert float(bright.min()) > 0.08  # no dark rim beside the light
    with pytest.raises(ConfigError, match="highlight_gain"):
        BlurConfig(highlight_gain=(0.5, 2))
    with pytest.raises(ConfigError, match="reduction"):
        BlurConfig(reduction=0.5)


def test_masks_are_hard() -> None:
    masks = motion.random_masks(torch.Generator().manual_seed(0), 8, 128)
    soft = ((masks > 0.02) & (masks < 0.98)).float().mean()
    assert 0 < float(soft) < 0.05
    assert 0.01 < float(masks.mean()) < 0.6


@pytest.mark.parametrize("quality", [35, 75, 95])
def test_jpeg_loses_what_the_real_one_loses(quality: int) -> None:
    grid = torch.linspace(0, 6, 70)
    smooth = 0.5 + 0.2 * torch.sin(
        grid[:, None] + torch.tensor([0.0, 1.0, 2.0])[:, None, None] + grid[None, None, :] ** 1.3
    )
    x = (smooth + 0.05 * texture(1, 70)[0]).clamp(0, 1)
    buffer = io.BytesIO()
    samples = (x * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(samples).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    real = torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).numpy() / 255
    ours = jpeg(torch.from_numpy(samples).permute(2, 0, 1)[None] / 255, quality)[0].numpy()
    loss = float(((real - samples.transpose(2, 0, 1) / 255) ** 2).mean())
    assert float(((ours - real) ** 2).mean()) < 0.2 * loss


@pytest.mark.parametrize(
    "wrong", [{"frames": (8,)}, {"layers": 1.5}, {"length_px": (5, 2)}, {"defocused": -1}, {"defocus_px": (0, 3)}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        BlurConfig(**wrong)


def test_even_exposures_have_no_middle() -> None:
    with pytest.raises(ConfigError, match="odd"):
        Exposure(8)


def test_a_shaken_pair_is_the_convolution_with_a_hands_kernel() -> None:
    config = BlurConfig(
        shaken=1.0, shake_px=(6, 20), linear_light=0, soften_sigma_px=(0, 0), noise_sigma=(0, 0), noisy=0, jpeg=0
    )
    source = texture(3, 48 + 2 * config.margin_px)
    blurry, sharp = blur.random_pairs(source, torch.Generator().manual_seed(0), config, size_px=48)
    edge = config.margin_px
    assert torch.allclose(sharp, source[..., edge:-edge, edge:-edge], atol=1e-6)
    # A kernel of sum 1 keeps what the whole picture sees, and loses most of a noise's variance.
    assert torch.allclose(blurry.mean((2, 3)), sharp.mean((2, 3)), atol=0.02)
    assert bool((blurry.var((1, 2, 3)) < 0.5 * sharp.var((1, 2, 3))).all())


def test_without_shakes_the_pairs_are_those_of_before() -> None:
    config = BlurConfig(jpeg=0)
    source = texture(4, 64 + 2 * config.margin_px)
    plain, mixed = (
        blur.random_pairs(source, torch.Generator().manual_seed(7), dataclasses.replace(config, **change), size_px=64)
        for change in ({}, {"shake_px": (1.0, 9.0)})
    )
    assert torch.equal(plain[0], mixed[0])


def test_a_far_shake_asks_for_a_larger_source() -> None:
    assert BlurConfig(shake_px=(4, 90)).margin_px == BlurConfig().margin_px
    config = BlurConfig(shaken=1.0, shake_px=(80, 90))
    blurry, _ = blur.random_pairs(
        texture(1, 16 + 2 * config.margin_px), torch.Generator().manual_seed(0), config, size_px=16
    )
    assert blurry.shape == (1, 3, 16, 16)


def test_a_lens_makes_discs_of_the_asked_radius() -> None:
    discs = uniform.random_discs(torch.Generator().manual_seed(0), 500, (3.0, 8.0))
    assert torch.allclose(discs.sum((1, 2)), torch.ones(500))
    # What a lens does has no direction to it: turned by half a turn, a disc is the same, and lies in the middle.
    assert torch.allclose(discs, discs.flip(1, 2), atol=1e-7)
    distance = torch.hypot(*torch.meshgrid(*2 * [torch.arange(-9.0, 10.0)], indexing="ij"))
    spread = ((discs * distance**2).sum((1, 2)) * 2).sqrt()  # of a hard round disc its radius
    assert 2 < float(spread.min()) < float(spread.max()) < 8
    assert bool((discs[:, distance > 9] == 0).all())


def test_what_is_out_of_focus_stays_so_and_half_of_it_does_not_move() -> None:
    plain = BlurConfig(layers=0, linear_light=0, soften_sigma_px=(0, 0), noise_sigma=(0, 0), noisy=0, jpeg=0)
    config = dataclasses.replace(plain, defocused=0.5, length_px=(20, 30))
    source = texture(64, 24 + 2 * config.margin_px)
    kept = source.clone()
    scene, still = blur.put_out_of_focus(source, torch.Generator().manual_seed(0), config)
    assert torch.equal(source, kept)
    soft = (scene != source).flatten(1).any(1)
    assert 0.3 < float(soft.float().mean()) < 0.7
    assert bool(soft[still].all())
    assert 0.25 < float(still[soft].float().mean()) < 0.75
    # An object from the next photo lies in front of some, as sharp as it is there.
    front = (scene == source.roll(-1, 0)).flatten(1).float().mean(1)
    assert 0.25 < float((front[soft] > 0.02).float().mean()) < 0.75
    blurry, sharp = blur.random_pairs(source, torch.Generator().manual_seed(0), config, size_px=24)
    same = (blurry == sharp).flatten(1).all(1)
    assert 0 < int(same.sum()) < int(soft.sum())
    detail = sharp.diff(dim=3).abs().mean((1, 2, 3))
    assert bool((detail[same] < 0.7 * detail.max()).all())


def test_a_single_scene_may_be_in_focus_or_not() -> None:
    config = BlurConfig(defocused=0.5)
    source = texture(1, 24)
    scenes = [blur.put_out_of_focus(source, torch.Generator().manual_seed(s), config)[0] for s in range(8)]
    assert 0 < sum(torch.equal(scene, source) for scene in scenes) < 8


def test_without_defocus_the_pairs_are_those_of_before() -> None:
    source = texture(4, 64 + 2 * BlurConfig().margin_px)
    plain, mixed = (
        blur.random_pairs(source, torch.Generator().manual_seed(7), config, size_px=64)
        for config in (BlurConfig(jpeg=0), BlurConfig(jpeg=0, defocus_px=(3.0, 5.0)))
    )
    assert torch.equal(plain[0], mixed[0])


def test_a_share_is_photographed_and_the_others_stay_as_they_were() -> None:
    config = BlurConfig(length_px=(2, 4), centre_px=50, layers=0, jpeg=0)
    source = texture(12, 48 + 2 * config.margin_px)
    plain, photographed = (
        blur.random_pairs(source, torch.Generator().manual_seed(1), c, size_px=48)
        for c in (config, dataclasses.replace(config, photographed=0.5))
    )
    assert torch.equal(plain[1], photographed[1])
    same = (plain[0] == photographed[0]).flatten(1).all(1)
    assert 3 <= int(same.sum()) <= 9
    levels = photographed[0][~same] * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    loss = ((photographed[0] - plain[0]) ** 2).mean((1, 2, 3)).sqrt()
    assert 0.01 < float(loss[~same].mean()) < 0.2
