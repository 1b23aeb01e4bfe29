"""The paper's uniform blur, y = k * x + n (eq. 1): every pixel is blurred alike.

So does an unsteady hand during a long exposure: `random_kernels` draws where it strays. Real kernels of that kind are
Levin et al.'s ("Understanding and evaluating blind deconvolution algorithms", 2009), on which nothing is trained.
So does a lens that is focused elsewhere: `random_discs`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.errors import ConfigError

INSTANTS = 192
"""Moments of an exposure."""

WAVES = 8
"""Half periods of the fastest of the waves that a hand's path is made of."""

ROUGHNESS = (1.2, 2.5)
"""The n-th wave is n to the minus this times as high: the lower, the more the path turns."""

MOST_NARROW = 0.75
"""Least width of a lens's disc, of 1 for its height."""


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve: return k * x where the kernel lies wholly inside the image: (B, C, H - kh + 1, W - kw + 1).

    `x` is (B, C, H, W) and `kernel` (kh, kw) for all images or (B, kh, kw), one for each. No border is assumed, so
    the result is what a camera would have seen.
    """
    batch, channels = x.shape[:2]
    kernels = kernel.to(x).expand(batch, *kernel.shape[-2:]).repeat_interleave(channels, 0)
    flat = x.reshape(1, batch * channels, *x.shape[-2:])
    # conv2d correlates; the convolution of eq. 1 turns the kernel round.
    out = nf.conv2d(flat, kernels.flip(-2, -1)[:, None], groups=batch * channels)
    return out.reshape(batch, channels, *out.shape[-2:])


def convolve_adjoint(y: Tensor, kernel: Tensor) -> Tensor:
    """Apply the exact adjoint K^T of `convolve`: the dot products <Kx, y> and <x, K^T y> are equal.

    `y` is (B, C, H, W); the result is larger by the kernel's size less one.
    """
    height, width = kernel.shape[-2:]
    padded = nf.pad(y, (width - 1, width - 1, height - 1, height - 1))
    return convolve(padded, kernel.flip(-2, -1))


def uniform_pair(
    x: Tensor, kernel: Tensor, *, sigma: float = 0.0, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return y = k * x + n (eq. 1), clipped to [0, 1], and the part of `x` that `y` shows, in one shape.

    `sigma` is the noise's standard deviation in units of the pixel range [0, 1]; the kernel's sides must be odd.
    """
    height, width = kernel.shape[-2:]
    if height % 2 == 0 or width % 2 == 0:
        raise ConfigError(f"A kernel of {height}x{width} has no middle; give one with odd sides.")
    y = convolve(x, kernel)
    y = y + sigma * torch.randn(y.shape, generator=generator).to(y)
    top, left = height // 2, width // 2
    return y.clamp(0, 1), x[..., top : top + y.shape[-2], left : left + y.shape[-1]]


def reach_px(extent_px: float) -> int:
    """Return how far from its middle a kernel of `random_kernels` reaches that strays `extent_px` at most."""
    # The mean position of 4,000 paths lay at most 0.77 of the extent from their ends.
    return math.ceil(0.8 * extent_px) + 1


def random_kernels(generator: torch.Generator, batch: int, extent_px: tuple[float, float]) -> Tensor:
    """Draw (batch, K, K) kernels of sum 1 that an unsteady hand draws, their mean position in the middle.

    A path is a sum of sines and cosines; `extent_px` is the range of the diagonal of the box that holds it, drawn
    log-uniformly. K is 2 `reach_px` + 1 of the largest.
    """
    order = torch.arange(1, WAVES + 1)
    least, most = ROUGHNESS
    height = order ** -(least + (most - least) * torch.rand(batch, 1, generator=generator))
    phase = math.pi * order[:, None] * torch.linspace(0, 1, INSTANTS)
    waves = torch.randn(batch, 2, 2 * WAVES, generator=generator) * height.repeat(1, 2)[:, None]
    path = waves @ torch.cat([torch.sin(phase), torch.cos(phase)])  # (batch, 2, INSTANTS)
    return path_kernels(path, log_uniform(generator, batch, extent_px), reach_px(extent_px[1]))


def path_kernels(path: Tensor, extent_px: Tensor, reach: int) -> Tensor:
    """Return the (B, K, K) kernels of sum 1, K = 2 `reach` + 1, that light draws on the way along `path`.

    `path` is (B, 2, T) as (x, y), in any unit and from anywhere; its mean comes to lie in the middle, and the diagonal
    of the box that holds it becomes `extent_px`, (B,), or as much of that as `reach` has room for.
    """
    diagonal = (path.amax(2) - path.amin(2)).norm(dim=1)
    path = (path - path.mean(2, keepdim=True)) * (extent_px / diagonal)[:, None, None]
    farthest = path.abs().amax((1, 2)).clamp(min=reach - 1)
    return _splat(path * ((reach - 1) / farthest)[:, None, None] + reach, 2 * reach + 1)


def _splat(path: Tensor, side: int) -> Tensor:
    """Share every point of `path`, (B, 2, T) as (x, y), out to the four pixels around it: (B, side, side) of sum 1."""
    corner = path.floor()
    (right, down), (x, y) = (path - corner).unbind(1), corner.long().unbind(1)
    kernels = torch.zeros(len(path), side * side)
    for row, rows in ((0, 1 - down), (1, down)):
        for column, columns in ((0, 1 - right), (1, right)):
            kernels.scatter_add_(1, (y + row) * side + x + column, rows * columns)
    return (kernels / path.shape[2]).view(-1, side, side)


def random_discs(generator: torch.Generator, batch: int, radius_px: tuple[float, float]) -> Tensor:
    """Draw (batch, K, K) kernels of sum 1 that a lens out of focus makes of a point; K holds the largest.

    Discs, from hard-edged to soft all the way in, and towards a picture's corners narrower, as a cat's eye. The radius
    is drawn log-uniformly.
    """
    radius = log_uniform(generator, batch, radius_px)[:, None, None]
    half_turns, width, softness = torch.rand(3, batch, 1, 1, generator=generator)
    angle, narrow = math.pi * half_turns, MOST_NARROW + (1 - MOST_NARROW) * width
    edge = 1 + radius * softness**2
    reach = math.ceil(radius_px[1]) + 1
    step = torch.arange(-reach, reach + 1)
    x, y = step[None, None, :], step[None, :, None]
    u, v = x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)
    discs = ((radius + 0.5 - torch.hypot(u, v / narrow)) / edge).clamp(0, 1)
    return discs / discs.sum((1, 2), keepdim=True)


def log_uniform(generator: torch.Generator, batch: int, limits: tuple[float, float]) -> Tensor:
    """Draw (batch,) values between the limits, which are above 0; each doubling is as likely as any other."""
    low, high = (math.log(limit) for limit in limits)
    return torch.exp(low + (high - low) * torch.rand(batch, generator=generator))


def soften(x: Tensor, sigma_px: float) -> Tensor:
    """Blur `x`, (B, C, H, W), with a small Gaussian: reduced photographs are crisper than video frames."""
    if sigma_px < 0.1:
        return x
    reach = math.ceil(3 * sigma_px)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / sigma_px) ** 2)
    taps = (taps / taps.sum()).to(x.dtype)
    channels = x.shape[1]
    padded = nf.pad(x, (reach,) * 4, mode="reflect")
    rows = nf.conv2d(padded, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return nf.conv2d(rows, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
