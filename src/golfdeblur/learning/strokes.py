"""G in the strokes that deconvolve: eq. 4 over x_i = G(x_mid), x_mid the step of eq. 5 towards k * x = y.

Sharp patches are blurred by one kernel each, in either light, and photographed; the strokes work with that kernel
disturbed as a kernel that is read from a picture is. Each stroke is a sample of its own: no gradient goes through the
one before, which would ask a stroke to prepare the next.
Source: sections 2 and 3 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur import golf as schedule
from golfdeblur.deconvolution.data_term import NOISE_LEVELS
from golfdeblur.learning import camera, jpeg, kernels, uniform
from golfdeblur.learning.objective import Objective
from golfdeblur.learning.sources import seeded_generator

REACH_PX = 25
"""A patch loses so much on each side: its kernels have a side of 51."""

SHAKE_PX, DISC_PX = (4.0, 40.0), (1.5, 9.0)
SHARES = {"none": 0.06, "disc": 0.08, "hook": 0.11, "particle": 0.15, "waves": 0.60}
"""What the kernels are; without any G only takes noise away, as a denoiser in other people's loops does."""

LINEAR, EXACT = 0.5, 0.35
"""Shares blurred in linear light, and with the true kernel."""

RECOLOURED, UNRELATED, BLOCKS = 0.38, 0.06, 0.03
"""Shares of patches with other colours; of those whose channels have nothing to do with each other; of mere blocks.
A G that saw photographs alone bent pure green and blue, and spoilt colours that photographs do not have."""

CAMERA = camera.CameraConfig(iso=(50.0, 3200.0), jpeg=0.5, sharpened=0.25, denoised=0.2)
NOISE = (1e-3, 0.032)
"""White noise of those blurred in sRGB, of the pixel range [0, 1]."""

JPEG, QUALITY = 0.25, (60.0, 98.0)
MISJUDGED = 0.3
"""By this share the noise is told wrong, in the mean."""

BEYOND = 0.25
"""An iterate may leave [0, 1] by as much; more is cut off."""


@dataclass(frozen=True)
class Case:
    """What one batch of strokes works on: (B, 3, H, W) pictures in [0, 1] and a (B, 51, 51) kernel for each."""

    y: Tensor
    sharp: Tensor
    kernel: Tensor
    linear: Tensor
    """(B,) bool: blurred in linear light."""
    noise: Tensor
    """(B,), as it is told."""


class StrokesObjective(Objective):
    """The loss of a batch of sharp patches, photographed anew: the mean over all strokes of a network with `level`."""

    def forward(self, y: Tensor, sharp: Tensor) -> dict[str, Tensor]:
        """Return the terms of the loss by name; `y` is not used, `sharp` is (B, 3, H, W) in [0, 1]."""
        case = photographed(sharp)
        with torch.autocast(y.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            found = [self.loss(x, case.sharp) for x in self.strokes(case)]
        return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}

    def strokes(self, case: Case) -> Iterator[Tensor]:
        """Yield x_1, ..., x_N of a case; none has the gradient of the one before."""
        assert self.frozen is not None
        with torch.no_grad():
            x = self.frozen(case.y).float()
        term = DataTerm(case)
        for stroke in range(1, self.iterates + 1):
            with torch.no_grad():
                middle = term.step(x, stroke)
                told = schedule.LEVEL_SCALE * schedule.level(1.0, stroke) * case.noise
                told = told[:, None, None, None].expand(-1, 1, *middle.shape[2:])
            made = self.network(torch.cat([middle, told], 1).contiguous(memory_format=torch.channels_last))
            yield made
            x = made.detach().float().clamp(-BEYOND, 1 + BEYOND)


class DataTerm:
    """`deconvolution.data_term.DataTerm` for a batch, each picture with its kernel, light and noise."""

    def __init__(self, case: Case) -> None:
        self.case = case
        y = self._wrapped(case.y)
        side = case.kernel.shape[-1]
        plane = torch.zeros(len(y), 1, *y.shape[-2:], device=y.device)
        plane[:, 0, :side, :side] = case.kernel
        transfer = torch.fft.rfft2(torch.roll(plane, (-(side // 2), -(side // 2)), (2, 3)))
        self.pulled = torch.conj(transfer) * torch.fft.rfft2(y)
        self.power = transfer.real**2 + transfer.imag**2

    def step(self, x: Tensor, stroke: int) -> Tensor:
        """Return x_mid of eq. 5 in sRGB, (B, 3, H, W)."""
        noise, linear = self.case.noise.tolist(), self.case.linear.tolist()
        each = [schedule.nearness(n, stroke, linear=light) for n, light in zip(noise, linear, strict=True)]
        rho = torch.tensor(each, device=x.device)[:, None, None, None]
        given = self._wrapped(x)
        spectrum = (self.pulled + rho * torch.fft.rfft2(given)) / (self.power + rho)
        made = torch.fft.irfft2(spectrum, s=given.shape[-2:])[..., : x.shape[2], : x.shape[3]]
        return torch.where(self.case.linear[:, None, None, None], camera.to_srgb(made), made).clamp(-0.5, 1.5)

    def _wrapped(self, x: Tensor) -> Tensor:
        """Return `x` in the case's light, continued until its opposite edges meet (`deconvolution.fourier`)."""
        x = torch.where(self.case.linear[:, None, None, None], camera.to_linear(x), x)
        for axis in (-2, -1):
            added = 2 * self.case.kernel.shape[-1]
            added += -(x.shape[axis] + added) % 16
            shape = [1] * 4
            shape[axis] = added
            t = torch.linspace(0, 1, added + 2, device=x.device)[1:-1].view(shape)
            last, first = x.narrow(axis, x.shape[axis] - 1, 1), x.narrow(axis, 0, 1)
            x = torch.cat([x, (1 - t) * last + t * first], axis)
        return x


@torch.no_grad()
def photographed(sharp: Tensor) -> Case:
    """Blur each of (B, 3, H, W) patches by a kernel of its own, and photograph it; H and W shrink by 2 REACH_PX.

    What is drawn depends on the patches alone, so that a resumed run goes on as an unbroken one.
    """
    generator = seeded_generator(int(sharp.double().sum() * 1e6) % 2**31)
    sharp = torch.stack([recoloured(patch, generator) for patch in sharp])
    batch, cut = len(sharp), slice(REACH_PX, -REACH_PX)
    kernel = torch.stack([random_kernel(generator) for _ in range(batch)]).to(sharp.device)
    linear = torch.rand(batch, generator=generator) < LINEAR
    y = torch.empty_like(sharp[:, :, cut, cut])
    for index in range(batch):
        one, k = sharp[index : index + 1], kernel[index : index + 1]
        y[index : index + 1] = (_by_camera if linear[index] else _as_stored)(one, k, generator)
    exact = torch.rand(batch, generator=generator) < EXACT
    read = [k if true else disturbed(k.cpu(), generator).to(k) for k, true in zip(kernel, exact, strict=True)]
    wrong = (1 + MISJUDGED * torch.randn(batch, generator=generator)).clamp(0.5, 1.8).to(y)
    noise = (noise_levels(y) * wrong).clamp(*NOISE_LEVELS)
    return Case(y, sharp[:, :, cut, cut], torch.stack(read), linear.to(y.device), noise)


def recoloured(patch: Tensor, generator: torch.Generator) -> Tensor:
    """Return a (3, H, W) patch with other, mostly stronger colours, or in most cases as it is."""
    drawn = _draw(generator)
    if drawn > RECOLOURED:
        return patch
    x = patch[torch.randperm(3, generator=generator)]
    if drawn < UNRELATED:
        x = torch.stack([x[0], x[1].flip(-1), x[2].flip(-2)])
    elif drawn < UNRELATED + BLOCKS:
        side = int(torch.randint(4, 40, (), generator=generator))
        blocks = torch.rand(3, *(n // side + 1 for n in x.shape[1:]), generator=generator).to(x)
        x = blocks.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, : x.shape[1], : x.shape[2]]
    grey = x.mean(0, keepdim=True)
    return (grey + (0.5 + 3.5 * _draw(generator)) * (x - grey)).clamp(0, 1)


def noise_levels(y: Tensor) -> Tensor:
    """Return the standard deviation of the noise in each of (B, 3, H, W) pictures (`data_term.noise_level`)."""
    d = (y[..., ::2, ::2] - y[..., 1::2, ::2] - y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 2
    return (d.abs().flatten(2).median(2).values / 0.6745).mean(1)


def random_kernel(generator: torch.Generator) -> Tensor:
    """Draw a (51, 51) kernel of sum 1."""
    shares = torch.tensor(list(SHARES.values()))
    kind = list(SHARES)[int(torch.multinomial(shares, 1, generator=generator))]
    side = 2 * REACH_PX + 1
    if kind == "none":
        kernel = torch.ones(1, 1)
    elif kind == "disc":
        kernel = uniform.random_discs(generator, 1, DISC_PX)[0]
    else:
        kernel = kernels.GENERATORS[kind](generator, 1, SHAKE_PX)[0]
    margin = (side - len(kernel)) // 2  # below 0 it cuts
    kernel = nf.pad(kernel, (margin,) * 4)
    if _draw(generator) < 0.3:
        kernel = soft(kernel, 0.3 + 0.5 * _draw(generator))
    return kernel / kernel.sum()


def disturbed(kernel: Tensor, generator: torch.Generator) -> Tensor:
    """Return a (K, K) kernel with what a reading gets wrong: weights, width, place, light beside it, and lost ends."""
    if _draw(generator) < 0.8:
        wrong = (0.1 + 0.6 * _draw(generator)) * torch.randn(kernel.shape, generator=generator)
        changed = kernel * (1 + wrong).clamp(min=0)
        kernel = changed if changed.sum() > 0 else kernel
    if _draw(generator) < 0.5:
        kernel = soft(kernel, 0.3 + 0.9 * _draw(generator))
    if _draw(generator) < 0.3:
        kernel = _moved(kernel, 1.4 * torch.rand(2, generator=generator) - 0.7)
    if _draw(generator) < 0.3:
        stray = torch.rand(kernel.shape, generator=generator)
        stray = soft(stray * (stray > 0.995), 0.8)
        share = 0.1 * _draw(generator)
        kernel = kernel + share * stray * kernel.sum() / stray.sum().clamp(min=1e-6)
    kernel = torch.where(kernel < (0.02 + 0.06 * _draw(generator)) * kernel.max(), 0.0, kernel)
    return kernel / kernel.sum()


def _by_camera(sharp: Tensor, kernel: Tensor, generator: torch.Generator) -> Tensor:
    light = camera.to_light(sharp, generator, CAMERA)
    return camera.photograph(uniform.convolve(light, kernel).clamp(min=0), generator, CAMERA)


def _as_stored(sharp: Tensor, kernel: Tensor, generator: torch.Generator) -> Tensor:
    y = uniform.convolve(sharp, kernel)
    sigma = float(uniform.log_uniform(generator, 1, NOISE))
    y = (y + sigma * torch.randn(y.shape, generator=generator).to(y)).clamp(0, 1)
    if _draw(generator) < JPEG:
        y = jpeg.jpeg(y, QUALITY[0] + (QUALITY[1] - QUALITY[0]) * _draw(generator))
    return (255 * y).round() / 255


def soft(kernel: Tensor, sigma_px: float) -> Tensor:
    """Return a (K, K) kernel blurred by a Gaussian of seven taps."""
    taps = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma_px) ** 2)
    taps = taps / taps.sum()
    rows = nf.conv2d(kernel[None, None], taps.view(1, 1, 1, -1), padding=(0, 3))
    return nf.conv2d(rows, taps.view(1, 1, -1, 1), padding=(3, 0))[0, 0]


def _moved(kernel: Tensor, by_px: Tensor) -> Tensor:
    """Move a (K, K) kernel by parts of a pixel, (right, down), linearly."""
    x, y = (2 * by_px / len(kernel)).tolist()
    theta = torch.tensor([[[1.0, 0.0, x], [0.0, 1.0, y]]])
    grid = nf.affine_grid(theta, [1, 1, *kernel.shape], align_corners=False)
    return nf.grid_sample(kernel[None, None], grid, align_corners=False)[0, 0]


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
