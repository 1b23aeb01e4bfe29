"""The degradation model: blurry and sharp images made from sharp photographs.

`average_frames` does what made GoPro's pairs: a camera moves during 7 to 13 frames, the frames are averaged, and the
middle one is the sharp target. What makes such pairs resemble real ones was measured: paths nearly straight, the target
exactly in the middle in time, hard layer masks, little noise (docs/decisions.md). A share may be blurred by a long
exposure in an unsteady hand instead, and a share may show what a lens left out of focus and is to stay so (`uniform`).

Every random quantity comes from one `torch.Generator` on the CPU, so a seed names a batch.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.errors import ConfigError
from golfdeblur.learning import camera, uniform
from golfdeblur.learning.camera import CameraConfig
from golfdeblur.learning.jpeg import jpeg
from golfdeblur.learning.motion import CameraPath, Exposure, Layer, average_frames, random_masks

GAMMA = 2.2
"""GoPro's camera curve: linear light = pixel ** GAMMA. Averages are taken in either space."""

CAMERA = CameraConfig(bright=0.0, contrast=(1.0, 1.0))
"""Takes the share `photographed`; its lights are those of the blur model."""

BEND_SPREAD = 0.8
"""Standard deviation of the logarithm of the bend: measured, as its median was, on 240 frames a second of a walk."""


@dataclass(frozen=True)
class BlurConfig:
    """Ranges that random degradations are drawn from; every (low, high) is a uniform range."""

    frames: tuple[int, ...] = (7, 9, 11, 13)
    length_px: tuple[float, float] = (2.0, 28.0)
    bend_px: tuple[float, float] = (1.6, 6.0)
    """Median and largest deviation from a straight path of constant speed, but never more than half the length: a hand
    speeds up and turns, so the middle in time is not the middle of the streak (research/)."""
    spin_degrees: float = 0.3
    zoom: float = 0.004
    centre_px: float = 500.0
    """How far the axis of rotation and zoom may lie from the centre of the crop."""
    open_share: tuple[float, float] = (0.4, 1.0)
    """The part of a frame's time that the shutter is open."""
    layers: float = 0.25
    """Share of pairs with a moving foreground object."""
    shaken: float = 0.0
    """Share of pairs that an unsteady hand blurred during a long exposure instead, all pixels alike (`uniform`)."""
    shake_px: tuple[float, float] = (4.0, 32.0)
    """How far such a hand strays; drawn log-uniformly."""
    defocused: float = 0.0
    """Share of pairs whose sharp image is out of focus, half of them behind an object that is not. Half do not move."""
    defocus_px: tuple[float, float] = (1.5, 14.0)
    """Radius of the discs that points out of focus become; drawn log-uniformly."""
    linear_light: float = 0.2
    """Share of pairs averaged in linear light; the others are averaged as sRGB values, as GoPro's `blur`."""
    saturated: float = 0.0
    """Share of the pairs in linear light whose highlights are brighter than white: their streaks stay white."""
    highlight_gain: tuple[float, float] = (1.5, 6.0)
    """How many times brighter white may be than what the sensor still tells apart; drawn log-uniformly."""
    soften_sigma_px: tuple[float, float] = (0.3, 1.0)
    noise_sigma: tuple[float, float] = (0.001, 0.005)
    noisy: float = 0.05
    """Share of pairs with more noise, up to `noisy_sigma`."""
    noisy_sigma: float = 0.02
    jpeg: float = 0.1
    """Share of batches whose blurry images are JPEG compressed."""
    jpeg_quality: tuple[float, float] = (70.0, 97.0)
    photographed: float = 0.0
    """Share of pairs whose blurry image a random camera takes instead, with all its faults (`camera`)."""
    reduction: float = 1.0
    """Half of the sharp crops are first made up to this many times smaller, so that few photographs show more."""
    toned: float = 0.0
    """Share of the sharp crops whose contrast, brightness and colours are first changed."""

    def __post_init__(self) -> None:
        if not self.frames or any(n < 1 or n % 2 == 0 for n in self.frames):
            raise ConfigError(f"frames {self.frames} must be odd counts, so that the target is the exact middle.")
        for name in (
            "layers",
            "shaken",
            "defocused",
            "linear_light",
            "saturated",
            "noisy",
            "jpeg",
            "photographed",
            "toned",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share and must lie in [0, 1].")
        for name, least, most in (
            ("length_px", 0, math.inf),
            ("bend_px", 0, math.inf),
            ("shake_px", 1, math.inf),
            ("defocus_px", 0.5, math.inf),
            ("highlight_gain", 1, math.inf),
            ("open_share", 0, 1),
            ("soften_sigma_px", 0, math.inf),
            ("noise_sigma", 0, 1),
            ("jpeg_quality", 1, 100),
        ):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                limits = f"not start below {least}" + ("" if most == math.inf else f", nor end above {most}")
                raise ConfigError(f"{name} {low, high} must rise and {limits}.")
        for name in ("spin_degrees", "zoom", "centre_px", "noisy_sigma"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative.")
        if self.reduction < 1:
            raise ConfigError(f"reduction is {self.reduction}; a photograph can only be made smaller, so at least 1.")

    @property
    def margin_px(self) -> int:
        """How much larger than the output the source must be on each side, so that no warp leaves it."""
        half = self.length_px[1] / 2 + min(self.bend_px[1], self.length_px[1] / 2)
        drift = (self.centre_px + 256) * (math.radians(self.spin_degrees) / 2 + self.zoom / 2)
        shake = uniform.reach_px(self.shake_px[1]) if self.shaken else 0
        return max(math.ceil(half + drift) + 2, shake)


def random_paths(generator: torch.Generator, batch: int, config: BlurConfig) -> CameraPath:
    """Draw `batch` nearly straight paths of the lengths, bends, spins and zooms that `config` allows."""

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    low, high = config.length_px
    length = between(low, high)
    angle = between(0, 2 * math.pi)
    bend_angle = between(0, 2 * math.pi)
    middle, most = config.bend_px
    bend = (middle * torch.exp(BEND_SPREAD * torch.randn(batch, generator=generator))).clamp(max=most)
    bend = torch.minimum(bend, length / 2)
    # Rotation and zoom go with the length: a camera that hardly moves hardly turns.
    share = length / max(high, 1e-6)
    return CameraPath(
        velocity=(length / 2)[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], -1),
        bend=bend[:, None] * torch.stack([torch.cos(bend_angle), torch.sin(bend_angle)], -1),
        spin=share * between(-1, 1) * math.radians(config.spin_degrees) / 2,
        zoom=share * between(-1, 1) * config.zoom / 2,
        centre=between(-config.centre_px, config.centre_px, 2),
    )


def random_pairs(
    source: Tensor, generator: torch.Generator, config: BlurConfig, *, size_px: int
) -> tuple[Tensor, Tensor]:
    """Make (blurry, sharp), (B, 3, size_px, size_px) each in [0, 1], from sharp crops `source`.

    `source` is (B, 3, S, S) in [0, 1] with S = size_px + 2 * config.margin_px, on the device where the work is done.
    The frame count and the JPEG quality are one per batch, all else is drawn per pair. The same generator state
    gives the same pairs.
    """
    batch, device = len(source), source.device

    def chosen(share: float) -> Tensor:
        return torch.rand(batch, generator=generator) < share

    source = uniform.soften(source, _uniform(generator, *config.soften_sigma_px))
    still = torch.zeros(batch, dtype=torch.bool)
    if config.defocused:
        source, still = put_out_of_focus(source, generator, config)
    linear = chosen(config.linear_light)
    gamma = torch.where(linear, GAMMA, 1.0).to(device)[:, None, None, None]
    frames = config.frames[int(torch.randint(len(config.frames), (), generator=generator))]
    exposure = Exposure(frames, open_share=_uniform(generator, *config.open_share))
    path = random_paths(generator, batch, config)
    layer_path = random_paths(generator, batch, config)
    gain = _highlight_gain(linear & chosen(config.saturated), generator, config).to(device)[:, None, None, None]
    light = _light(source, gamma, gain)
    masks = random_masks(generator, batch, source.shape[-1], device=device)
    layered = chosen(config.layers) if batch > 1 else torch.zeros(batch, dtype=torch.bool)
    blurry = torch.empty(batch, 3, size_px, size_px, device=device)
    sharp = torch.empty_like(blurry)
    shaken = chosen(config.shaken) if config.shaken else torch.zeros(batch, dtype=torch.bool)
    samples = _samples(path, layer_path, exposure)
    for kind in itertools.product((False, True), (1, 3)):
        index = torch.nonzero((layered == kind[0]) & (samples == kind[1]) & ~shaken)[:, 0]
        if not len(index):
            continue
        layer = None
        if kind[0]:
            # The object is cut from the next photo of the batch.
            texture = _light(source[(index + 1) % batch], gamma[index], gain[index])
            layer = Layer(texture, masks[index], layer_path.select(index).to(device))
        blurry[index], sharp[index] = average_frames(
            light[index],
            path.select(index).to(device),
            dataclasses.replace(exposure, samples=kind[1]),
            size_px=size_px,
            layer=layer,
            clip=True,
        )
    index = torch.nonzero(shaken)[:, 0]
    if len(index):
        kernels = uniform.random_kernels(generator, len(index), config.shake_px).to(device)
        wider = _middle(light[index], size_px + kernels.shape[-1] - 1)
        # A graphics card's convolutions may fall a little below 0.
        blurry[index] = uniform.convolve(wider, kernels).clamp(min=0)
        sharp[index] = _middle(light[index], size_px)
    blurry[still] = sharp[still]
    blurry, sharp = blurry ** (1 / gamma), sharp ** (1 / gamma)
    blurry = _sense(blurry, generator, config)
    return blurry, sharp.clamp(0, 1)


def put_out_of_focus(source: Tensor, generator: torch.Generator, config: BlurConfig) -> tuple[Tensor, Tensor]:
    """Put a share of the scenes out of focus, as a lens does in linear light, and choose (B,) which do not move.

    Half of them lie behind an object in focus, cut from the next photo of the batch. `source` stays as it is.
    """
    drawn, front, still = torch.rand(3, len(source), generator=generator)
    out = drawn < config.defocused
    if not out.any():
        return source, out
    index = torch.nonzero(out)[:, 0]
    discs = uniform.random_discs(generator, len(index), config.defocus_px).to(source.device)
    masks = random_masks(generator, len(index), source.shape[-1], device=source.device)
    masks = masks * (front[index] < 0.5).to(masks)[:, None, None, None]
    wider = nf.pad(source[index], (discs.shape[-1] // 2,) * 4, mode="replicate")
    soft = uniform.convolve(wider**GAMMA, discs).clamp(min=0) ** (1 / GAMMA)
    scene = source.clone()
    scene[index] = torch.lerp(soft, source[(index + 1) % len(source)], masks)
    return scene, out & (still < 0.5)


def _middle(x: Tensor, side: int) -> Tensor:
    """Return the middle of (B, C, S, S), `side` pixels a side; S - side is even."""
    edge = (x.shape[-1] - side) // 2
    return x[..., edge : edge + side, edge : edge + side]


def _highlight_gain(saturated: Tensor, generator: torch.Generator, config: BlurConfig) -> Tensor:
    """Draw how much brighter than white the highlights of each pair are; 1 where it is not `saturated`."""
    return torch.where(saturated, uniform.log_uniform(generator, len(saturated), config.highlight_gain), 1.0)


def _light(x: Tensor, gamma: Tensor, gain: Tensor) -> Tensor:
    """Return the light that made the pixels `x`: what is white may have been up to `gain` times as bright."""
    return camera.brighten(x**gamma, gain)


def _samples(path: CameraPath, layer_path: CameraPath, exposure: Exposure) -> Tensor:
    """Choose 1 or 3 samples a frame for each pair: one will do where a frame sees less than 1.2 px of motion."""
    speed = torch.maximum(path.velocity.norm(dim=1), layer_path.velocity.norm(dim=1))
    return torch.where(2 * speed / exposure.frames * exposure.open_share < 1.2, 1, 3)


def _sense(blurry: Tensor, generator: torch.Generator, config: BlurConfig) -> Tensor:
    """Photograph a share; to the others add the sensor's noise, clip, and compress if the draw says so."""
    batch = len(blurry)
    low, high = config.noise_sigma
    sigma = low + (high - low) * torch.rand(batch, generator=generator)
    noisy = torch.rand(batch, generator=generator) < config.noisy
    sigma = torch.where(noisy, config.noisy_sigma * torch.rand(batch, generator=generator), sigma)
    local = torch.Generator(blurry.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
    noise = torch.randn(blurry.shape, generator=local, device=blurry.device)
    seen = blurry
    blurry = (seen + sigma.to(blurry.device)[:, None, None, None] * noise).clamp(0, 1)
    compress = _uniform(generator, 0, 1) < config.jpeg
    quality = _uniform(generator, *config.jpeg_quality)
    blurry = jpeg(blurry, quality) if compress else blurry
    if config.photographed:
        index = torch.nonzero(torch.rand(batch, generator=generator) < config.photographed)[:, 0].to(blurry.device)
        blurry[index] = camera.photograph(camera.to_linear(seen[index].clamp(min=0)), generator, CAMERA)
    return blurry


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
