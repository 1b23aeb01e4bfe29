"""A camera that moves while its shutter is open: paths, instants, and the mean of what they show.

It does what made GoPro's pairs: frames are averaged, and the middle one is the sharp target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.errors import ConfigError


@dataclass(frozen=True)
class CameraPath:
    """Positions of B cameras (or objects) at times t in [-1, 1]; at t = 0 every one is at rest at the origin.

    The displacement is `velocity * t + bend * t**2` pixels, (B, 2) each as (x, y); the rotation `spin * t` radians
    and the zoom `exp(zoom * t)`, (B,) each, about `centre`, (B, 2) pixels from the centre of the image.
    """

    velocity: Tensor
    bend: Tensor
    spin: Tensor
    zoom: Tensor
    centre: Tensor

    def reversed(self) -> CameraPath:
        """Return the same path run backwards in time."""
        return CameraPath(-self.velocity, self.bend, -self.spin, -self.zoom, self.centre)

    def select(self, index: Tensor) -> CameraPath:
        """Return the paths at the given positions of the batch."""
        return CameraPath(*(getattr(self, f)[index] for f in self.__dataclass_fields__))

    def to(self, device: torch.device) -> CameraPath:
        """Return the paths with their tensors on `device`."""
        return CameraPath(*(getattr(self, f).to(device) for f in self.__dataclass_fields__))

    def matrices(self, t: float) -> Tensor:
        """Return the (B, 2, 3) matrices that take a pixel of the moved image to where it shows the still one."""
        angle, scale = self.spin * t, torch.exp(self.zoom * t)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        shift = self.velocity * t + self.bend * t * t
        offset = self.centre + shift - (turn @ self.centre[:, :, None])[:, :, 0]
        return torch.cat([turn, offset[:, :, None]], -1)


@dataclass(frozen=True)
class Exposure:
    """The sampling times of `frames` exposures in [-1, 1], each of `samples` instants, symmetric about 0."""

    frames: int
    samples: int = 3
    open_share: float = 1.0

    def __post_init__(self) -> None:
        if self.frames % 2 == 0 or self.samples < 1:
            raise ConfigError(f"frames {self.frames} must be odd and samples {self.samples} at least 1.")

    def times(self) -> list[float]:
        """Return all sampling times, frame after frame; reversing the list negates every time exactly."""
        span = 2 / self.frames
        starts = [span * (i - (self.frames - 1) / 2) for i in range(self.frames)]
        inner = [span * self.open_share * (j - (self.samples - 1) / 2) / self.samples for j in range(self.samples)]
        return [start + offset for start in starts for offset in inner]

    def is_middle(self, index: int) -> bool:
        """Tell whether sampling time `index` belongs to the middle frame, whose mean is the target."""
        return index // self.samples == self.frames // 2


@dataclass(frozen=True)
class Layer:
    """Moving foreground objects: their texture and mask, (B, 3, Hs, Ws) and (B, 1, Hs, Ws), and their paths."""

    texture: Tensor
    mask: Tensor
    path: CameraPath


def average_frames(
    source: Tensor,
    path: CameraPath,
    exposure: Exposure,
    *,
    size_px: int,
    layer: Layer | None = None,
    clip: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the mean of all frames and the middle one, (B, C, size_px, size_px) each.

    `source` is (B, C, Hs, Ws), in the space in which light is averaged, larger than the output by the motion on each
    side; where a warp still leaves it, its border is repeated. A `layer` hides what is behind its mask. Bicubic samples
    overshoot, beside a bright light far below 0: `clip` cuts that off in every frame, and the mean is then not linear.
    """
    blurry = torch.zeros(*source.shape[:2], size_px, size_px, dtype=source.dtype, device=source.device)
    target = torch.zeros_like(blurry)
    front = None if layer is None else torch.cat([layer.texture, layer.mask], 1)
    times = exposure.times()
    for index, t in enumerate(times):
        frame = warp(source, path.matrices(t), size_px)
        if front is not None and layer is not None:
            moved = warp(front, layer.path.matrices(t), size_px)
            frame = torch.lerp(frame, moved[:, :-1], moved[:, -1:])
        if clip:
            frame.clamp_(min=0)
        blurry += frame
        if exposure.is_middle(index):
            target += frame
    return blurry / len(times), target / exposure.samples


def warp(source: Tensor, matrices: Tensor, size_px: int) -> Tensor:
    """Sample `source` bicubically on a centred square grid of `size_px`, moved by (B, 2, 3) matrices in pixels."""
    height, width = source.shape[-2:]
    scale = torch.tensor([2 / width, 2 / height], dtype=matrices.dtype, device=matrices.device)
    steps = torch.arange(size_px, dtype=matrices.dtype, device=matrices.device) - (size_px - 1) / 2
    # grid = M (x, y, 1): an outer sum is cheaper than affine_grid's product.
    columns = (matrices[:, :, 0] * scale)[:, None, None, :] * steps[None, None, :, None]
    rows = (matrices[:, :, 1] * scale)[:, None, None, :] * steps[None, :, None, None]
    grid = columns + rows + (matrices[:, :, 2] * scale)[:, None, None, :]
    # Bilinear sampling would take 3 dB from the blurry image's finest detail, and the network would learn to give them
    # back to real photos, which never lost them (research/).
    return nf.grid_sample(source, grid.to(source.dtype), mode="bicubic", padding_mode="border", align_corners=False)


def random_masks(generator: torch.Generator, batch: int, size_px: int, *, device: torch.device | None = None) -> Tensor:
    """Draw (B, 1, size_px, size_px) masks of one smooth shape each, with hard edges antialiased over 1.5 px."""

    def between(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(batch, *shape, generator=generator)).to(device)

    grid = torch.arange(size_px, dtype=torch.float32, device=device) - (size_px - 1) / 2
    centre = between(-size_px * 0.3, size_px * 0.3, 2)
    x = grid[None, None, :] - centre[:, 0, None, None]
    y = grid[None, :, None] - centre[:, 1, None, None]
    turn = between(0, math.pi)[:, None, None]
    stretch = torch.exp(between(-0.7, 0.7))[:, None, None]
    u = (x * torch.cos(turn) + y * torch.sin(turn)) * stretch
    v = (y * torch.cos(turn) - x * torch.sin(turn)) / stretch
    angle, distance = torch.atan2(v, u), torch.hypot(u, v)
    radius = torch.ones_like(angle)
    for order in range(2, 7):
        size, phase = between(0, 0.5 / order)[:, None, None], between(0, 2 * math.pi)[:, None, None]
        radius = radius + size * torch.cos(order * angle + phase)
    radius = radius * between(size_px * 0.08, size_px * 0.3)[:, None, None]
    return (0.5 + (radius - distance) / 1.5).clamp(0, 1)[:, None]
