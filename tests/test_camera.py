import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.errors import ConfigError
from golfdeblur.learning import camera
from golfdeblur.learning.camera import CameraConfig
from golfdeblur.learning.jpeg import jpeg

PLAIN = CameraConfig(iso=(0, 0), bayer=0, bright=0, contrast=(1, 1), blotchy=0, denoised=0, sharpened=0, jpeg=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(batch: int = 2, height: int = 61, width: int = 48) -> torch.Tensor:
    """Smooth colours, as (B, 3, H, W) in [0.05, 0.95]."""
    coarse = torch.rand(batch, 3, 6, 5, generator=seeded(9))
    return 0.05 + 0.9 * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def changed(**values: object) -> CameraConfig:
    return CameraConfig(**{**vars(PLAIN), **values})


def test_srgb_is_the_standards_curve_and_comes_back() -> None:
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    light = camera.to_linear(x)
    assert torch.allclose(camera.to_srgb(light), x, atol=1e-6)
    assert float(camera.to_linear(torch.tensor(0.5))) == pytest.approx(0.214041, abs=1e-5)
    assert float(camera.to_linear(torch.tensor(0.02))) == pytest.approx(0.02 / 12.92)
    assert float(camera.to_srgb(torch.tensor(4.0))) > 1


@pytest.mark.parametrize("contrast", [0.7, 1.0, 1.5])
def test_the_tone_curve_has_its_slope_and_its_inverse(contrast: float) -> None:
    x = torch.linspace(0, 1, 401, dtype=torch.float64)
    y = camera.tone(x, contrast)
    assert torch.allclose(camera.tone(y, 1 / contrast), x, atol=1e-9)
    assert bool((y.diff() > 0).all())
    assert float((y[201] - y[199]) / (x[201] - x[199])) == pytest.approx(contrast, rel=1e-3)


def test_a_camera_without_faults_gives_the_picture_back() -> None:
    srgb = scene()
    for config in (PLAIN, changed(contrast=(1.5, 1.5))):
        contrast = camera.random_contrast(seeded(), 2, config)
        light = camera.to_light(srgb, seeded(), config, contrast=contrast)
        y = camera.photograph(light, seeded(), config, contrast=contrast)
        assert float((y - srgb).abs().max()) < 0.5 / 255 + 1e-4
        assert torch.allclose(y * 255, (y * 255).round(), atol=1e-4)
        assert torch.allclose(camera.develop(light, contrast), srgb, atol=1e-5)


def test_only_white_is_brighter_than_white() -> None:
    srgb = torch.cat([torch.full((64, 3, 1, 1), 0.85), torch.ones(64, 3, 1, 1)], 3)
    light = camera.to_light(srgb, seeded(), changed(bright=0.5, light_gain=(2, 6)))
    assert torch.allclose(light[..., 0], camera.to_linear(srgb[..., 0]))
    gains = light[:, 0, 0, 1]
    assert 0.3 < float((gains > 1).float().mean()) < 0.7
    assert bool((gains[gains > 1] >= 2).all())
    assert float(gains.max()) <= 6


def test_streaks_of_lights_stay_white_after_blurring_and_clipped_ones_turn_grey() -> None:
    srgb = torch.zeros(1, 3, 3, 9)
    srgb[..., 4] = 1
    streaks = []
    for share in (0, 1):
        light = camera.to_light(srgb, seeded(), changed(bright=share, light_gain=(6, 6)))
        streaks.append(camera.photograph(torch.nn.functional.avg_pool2d(light, (1, 5), 1), seeded(), PLAIN)[0, 0, 0, 2])
    assert float(streaks[0]) == pytest.approx(float(camera.to_srgb(torch.tensor(0.2))), abs=0.01)
    assert float(streaks[1]) == 1


def test_coloured_lights_keep_the_hue_of_the_truth_and_show_no_noise_where_white() -> None:
    light = torch.tensor([6.0, 2.5, 0.3])[None, :, None, None].expand(8, 3, 16, 16)
    y = camera.photograph(light, seeded(), PLAIN)
    assert torch.allclose(y, camera.develop(light), atol=0.5 / 255 + 1e-4)
    noisy = camera.photograph(light, seeded(), changed(iso=(800, 800), bayer=0.5))
    assert float(noisy[:, :2].mean()) > 0.999
    assert float(noisy[:, 2].std()) > 0.01


def test_noise_has_the_variance_of_shots_and_of_reading() -> None:
    for signal in (0.0, 0.1, 0.8):
        shot, read = torch.full((1, 1, 1, 1), 4e-3), torch.full((1, 1, 1, 1), 1e-4)
        noisy = camera.add_noise(torch.full((1, 1, 300, 300), signal), shot, read, seeded())
        assert float(noisy.mean()) == pytest.approx(signal, abs=1e-3)
        assert float(noisy.var()) == pytest.approx(4e-3 * signal + 1e-4, rel=0.03)


def test_sensors_are_as_noisy_as_published() -> None:
    shot, read = (v.flatten().log() for v in camera.random_noise(seeded(), 20_000, CameraConfig()))
    assert float(shot.min()) >= math.log(1e-4) - 1e-4
    assert float(shot.max()) <= math.log(0.012) + 1e-4
    assert float(shot.mean()) == pytest.approx((math.log(1e-4) + math.log(0.012)) / 2, abs=0.03)
    rest = read - 2.18 * shot - 1.20
    assert float(rest.mean()) == pytest.approx(0, abs=0.01)
    assert float(rest.std()) == pytest.approx(0.26, rel=0.03)


def test_grey_noise_is_what_a_picture_of_grey_shows() -> None:
    config = changed(iso=(3200, 3200))
    light = camera.to_linear(torch.full((1, 3, 300, 300), 0.5))
    shot, read = camera.random_noise(seeded(), 1, config)
    seen = camera.to_srgb(camera.add_noise(light, shot, read, seeded()).clamp(0, 1))
    assert float(seen.std()) == pytest.approx(float(camera.grey_noise(shot, read)), rel=0.05)


def test_more_iso_is_more_noise_and_the_mean_stays() -> None:
    light = camera.to_linear(torch.full((8, 3, 96, 96), 0.5))
    deviations = []
    for iso in (400, 1600, 6400):
        y = camera.photograph(light, seeded(), changed(iso=(iso, iso), bayer=0.5))
        assert torch.allclose(camera.to_linear(y).mean((2, 3)), light[:, :, 0, 0], rtol=0.02)
        deviations.append(float(y.std((2, 3)).mean()))
    assert deviations[0] * 1.7 < deviations[1] < deviations[2] / 1.7
    assert 0.02 < deviations[1] < 0.08


def test_white_stays_white_through_every_sensors_colours() -> None:
    matrix, gains = camera.random_colours(seeded(), 500)
    assert torch.allclose(matrix.sum(2), torch.ones(500, 3), atol=1e-5)
    assert float((matrix.diagonal(dim1=1, dim2=2)).min()) > 0.4
    red, blue = (gains[:, channel] / gains[:, 1] for channel in (0, 2))
    assert 1.9 <= float(red.min()) < float(red.max()) <= 2.4001
    assert 1.5 <= float(blue.min()) < float(blue.max()) <= 1.9001
    colours = torch.rand(500, 3, 4, 4, generator=seeded())
    back = camera.mix(camera.mix(colours, matrix), torch.linalg.inv(matrix))
    assert torch.allclose(back, colours, atol=1e-4)


def test_a_mosaic_keeps_red_and_blue_in_a_quarter_of_the_pixels() -> None:
    x = torch.tensor([1.0, 2, 3])[None, :, None, None].expand(1, 3, 5, 6)
    expected = torch.tensor([[1.0, 2, 1, 2, 1, 2], [2, 3, 2, 3, 2, 3]]).repeat(3, 1)[:5]
    assert torch.equal(camera.mosaic(x)[0, 0], expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (4, 5)])
def test_demosaicing_gives_planes_back_exactly(size: tuple[int, int]) -> None:
    flat = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(1, 3, *size)
    assert torch.allclose(camera.demosaic(camera.mosaic(flat)), flat, atol=1e-6)
    ramp = torch.arange(30.0)[None, None, :, None] + 2 * torch.arange(31.0) + torch.tensor([0.0, 5, 9])[:, None, None]
    back = camera.demosaic(camera.mosaic(ramp))
    assert torch.allclose(back[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2], atol=1e-4)


def test_demosaicing_beats_bilinear_on_grey_detail() -> None:
    grey = torch.rand(1, 1, 64, 64, generator=seeded()).expand(1, 3, 64, 64)
    grey = torch.nn.functional.avg_pool2d(grey, 2, 1)
    seen = camera.mosaic(grey)
    mask = camera.mosaic(torch.tensor([1.0, 0, 1])[None, :, None, None].expand(1, 3, *grey.shape[-2:])) > 0
    ours = camera.demosaic(seen)[:, 1:2]
    error = (ours - grey[:, 1:2])[mask].square().mean()
    rough = torch.nn.functional.conv2d(seen, torch.tensor([[[[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]]]) / 4, padding=1)
    assert float(error) < 0.6 * float((rough - grey[:, 1:2])[mask].square().mean())


def test_blotches_are_colour_alone_and_several_pixels_wide() -> None:
    spots = camera.blotches(torch.zeros(4, 3, 128, 96), torch.full((4, 1, 1, 1), 0.05), seeded())
    luma = camera.mix(spots, torch.tensor(camera.RGB_TO_YCC))[:, 0]
    assert float(luma.abs().max()) < 1e-6
    assert float(spots.std()) == pytest.approx(0.05, rel=0.1)
    neighbours = (spots[..., 1:] * spots[..., :-1]).mean() / spots.var()
    assert float(neighbours) > 0.8


def test_denoising_smooths_flat_parts_and_keeps_edges() -> None:
    step = torch.full((1, 3, 64, 64), 0.2)
    step[..., 32:] = 0.8
    noisy = step + 0.02 * torch.randn(step.shape, generator=seeded())
    smooth = camera.denoise(noisy, torch.full((1, 1, 1, 1), 0.03))
    assert float((smooth - step)[..., :20].std()) < 0.012
    assert float((smooth[..., 33] - smooth[..., 30]).mean()) == pytest.approx(0.6, abs=0.02)
    untouched = camera.denoise(noisy, torch.zeros(1, 1, 1, 1))
    assert torch.allclose(untouched, noisy, atol=1e-3)


def test_sharpening_overshoots_edges_by_its_amount() -> None:
    step = torch.full((2, 3, 16, 16), 0.4)
    step[..., 8:] = 0.6
    over = camera.sharpen(step, torch.tensor([0.5, 1.0])[:, None, None, None])[:, 0, 8].amax(1) - 0.6
    assert float(over[0]) > 0.01
    assert float(over[1]) == pytest.approx(2 * float(over[0]), rel=1e-3)


@pytest.mark.parametrize("subsampled", [True, False])
def test_jpeg_is_pillows_for_each_quality(subsampled: bool) -> None:
    x = (scene(2, 64, 48) + 0.05 * torch.randn(2, 3, 64, 48, generator=seeded())).clamp(0, 1).mul(255).round() / 255
    ours = jpeg(x, torch.tensor([60.0, 90.0]), subsampled=subsampled)
    for quality, picture, made in zip((60, 90), x, ours, strict=True):
        file = io.BytesIO()
        pixels = (255 * picture).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
        theirs = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
        loss = float((torch.from_numpy(theirs) - picture).square().mean())
        assert float((made - picture).square().mean()) == pytest.approx(loss, rel=0.1)
        assert float((made - torch.from_numpy(theirs)).square().mean()) < 0.25 * loss


def test_the_same_seed_takes_the_same_photograph_and_the_next_another() -> None:
    light, before = camera.to_linear(scene(6)), camera.to_linear(scene(6))
    config = CameraConfig()
    first, again, other = (camera.photograph(light, seeded(seed), config) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(light, before)
    assert first.shape == light.shape
    assert bool(((first >= 0) & (first <= 1)).all())


def test_wrong_ranges_are_named() -> None:
    with pytest.raises(ConfigError, match="bayer is 2"):
        CameraConfig(bayer=2)
    with pytest.raises(ConfigError, match="jpeg_quality"):
        CameraConfig(jpeg_quality=(90, 60))
    with pytest.raises(ConfigError, match="start above 0"):
        CameraConfig(iso=(0, 100))
