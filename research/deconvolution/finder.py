"""Train K, the network that finds the kernel in `deconvolution.estimation.maps`, and write it as an ONNX file.

Needs the extra `train`; the maps of 1,640 pictures took 20 minutes of one busy core, the training 10.

    python research/deconvolution/finder.py maps DATA MAPS.npz MINUTES
    python research/deconvolution/finder.py train MAPS.npz K.onnx MINUTES
"""

from __future__ import annotations

import copy
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nf
from torch import Tensor, nn

from golfdeblur.deconvolution import estimation, light
from golfdeblur.learning import camera, checkpoint, data, golf, jpeg, kernels, strokes, uniform
from golfdeblur.learning.layers import PixelShuffle, ResidualBlock
from golfdeblur.learning.optimiser import Optimiser
from golfdeblur.weights import EMBEDDED

SIDE = estimation.FINDER_PX
PATCH_PX = 320
EXTENT_PX = (5.0, 55.0)
CAMERA = camera.CameraConfig(iso=(50.0, 6400.0), jpeg=0.6, sharpened=0.15, denoised=0.2)
WIDTHS, BLOCKS = (24, 40), (2, 3)
BATCH, LR, EMA = 24, 2e-3, 0.995
GRID = 64
"""Kernels are compared at the frequencies of a plane of this side."""


class Finder(nn.Module):
    """Find kernels: (B, 4, SIDE, SIDE) maps to (B, 1, SIDE, SIDE) of sum 1, by a U-Net of two levels and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        (wide, deep), (few, many) = WIDTHS, BLOCKS
        self.head = nn.Conv2d(4, wide, 3, padding=1)
        self.e0 = nn.Sequential(*(ResidualBlock(wide) for _ in range(few)))
        self.down = nn.Conv2d(wide, deep, 2, stride=2)
        self.e1 = nn.Sequential(*(ResidualBlock(deep) for _ in range(many)))
        self.up = nn.Sequential(nn.Conv2d(deep, 4 * wide, 1), PixelShuffle(2))
        self.d0 = nn.Sequential(*(ResidualBlock(wide) for _ in range(few)))
        self.tail = nn.Conv2d(wide, 1, 3, padding=1)
        nn.init.zeros_(self.tail.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the kernels of `maps`."""
        hidden = self.e0(self.head(nf.pad(maps, (0, 1, 0, 1))))
        hidden = self.d0(self.up(self.e1(self.down(hidden))) + hidden)
        logits = self.tail(hidden)[:, :, :SIDE, :SIDE]
        return torch.softmax(logits.flatten(1), 1).view(-1, 1, SIDE, SIDE)


def random_kernel(generator: torch.Generator) -> Tensor:
    """Draw a (SIDE, SIDE) kernel of any generator that lies inside of it but for 3 % of its light."""
    while True:
        make = list(kernels.GENERATORS.values())[int(torch.randint(3, (), generator=generator))]
        kernel = make(generator, 1, EXTENT_PX)[0]
        cut = (SIDE - len(kernel)) // 2
        inside = nf.pad(kernel, (cut,) * 4)
        if inside.sum() >= 0.97 * kernel.sum():
            return inside / inside.sum()


def blurred(x: Tensor, kernel: Tensor, linear: bool, generator: torch.Generator) -> Tensor:
    """Blur (1, 3, H, W) by a camera, or as it is stored with noise of a wide range and sometimes JPEG."""
    if linear:
        seen = camera.to_light(x, generator, CAMERA)
        return camera.photograph(uniform.convolve(seen, kernel).clamp(min=0), generator, CAMERA)
    y = uniform.convolve(x, kernel)
    sigma, compressed, quality = torch.rand(3, generator=generator).tolist()
    y = (y + 10 ** (1.5 * sigma - 3) * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    return (255 * (jpeg.jpeg(y, 60 + 38 * quality) if compressed < 0.25 else y)).round() / 255


@torch.no_grad()
def make_maps(source: Path, out: Path, minutes: float, seed: int = 1) -> None:
    """Write maps and kernels of so many pictures as can be made in `minutes`."""
    photos = [p for folder in ("photos", "urban") for p in data.load_photos(source / folder)]
    network, _ = checkpoint.load_network(EMBEDDED / "fast" / "F.onnx")
    f, generator = golf.Propagator(network).eval(), torch.Generator().manual_seed(seed)
    given, wanted, started = [], [], time.monotonic()
    side = PATCH_PX + SIDE - 1
    photos = [photo for photo in photos if min(photo.pixels.shape[1:]) >= side]
    while time.monotonic() - started < 60 * minutes:
        photo = photos[int(torch.randint(len(photos), (), generator=generator))].pixels
        top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in photo.shape[1:])
        sharp = photo[None, :, top : top + side, left : left + side].float() / 255
        kernel, linear = random_kernel(generator), bool(torch.rand((), generator=generator) < 0.5)
        y = blurred(sharp, kernel, linear, generator)
        half = nf.avg_pool2d(y, 2)
        planes = [p[0].numpy() for p in (f(y).clamp(0, 1), y, f(half).clamp(0, 1), half)]
        greys = [light.into(light.luminance(p), "linear" if linear else "srgb") for p in planes]
        made = estimation.maps(*greys, float(strokes.noise_levels(y)[0]))
        if np.isfinite(made).all():
            given.append(made.astype(np.float16))
            wanted.append(kernel.numpy().astype(np.float16))
    np.savez(out, x=np.array(given), k=np.array(wanted))
    print(f"{len(given)} pictures")


def train(source: Path, out: Path, minutes: float) -> None:
    """Train on the maps in `source` but for a twelfth of them, which judge."""
    stored = np.load(source)
    maps, wanted = (torch.from_numpy(stored[name]).float() for name in ("x", "k"))
    wanted = wanted / wanted.sum((1, 2), keepdim=True)
    held = max(1, len(maps) // 12)
    network, generator = Finder(), torch.Generator().manual_seed(0)
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = Optimiser(network, "muon", betas=(0.9, 0.99), weight_decay=0.0)
    started, step = time.monotonic(), 0
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        chosen = held + torch.randint(len(maps) - held, (BATCH,), generator=generator)
        turn = int(torch.randint(8, (), generator=generator))
        x, target = (torch.rot90(t[chosen], turn % 4, (-2, -1)) for t in (maps, wanted))
        x, target = (t.flip(-1) if turn > 3 else t for t in (x, target))
        found = network(x)[:, 0]
        loss = torch.log10(distance(found, moved_onto(target, found.detach())) + 0.01).mean()
        loss.backward()
        optimiser.step(LR * (1 + math.cos(math.pi * done)) / 2 * min(1, (step + 1) / 50) + 1e-6)
        step += 1
        with torch.no_grad():
            share = 1 - min(EMA, step / (step + 9))
            torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), share)
    with torch.no_grad():
        found = averaged(maps[:held])[:, 0]
        left = distance(found, moved_onto(wanted[:held], found))
    print(f"{step} steps; wrong of a kernel's power: mean {float(left.mean()):.3f}, median {float(left.median()):.3f}")
    to_onnx(averaged.eval(), torch.rand(8, 4, SIDE, SIDE), out, {0: "batch"})


def distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the power of found - wanted over that of wanted, (B,), weighted as photographs' power falls, 1 / f^2."""
    across, down = torch.fft.rfftfreq(GRID), torch.fft.fftfreq(GRID)
    weight = 1 / (across**2 + down[:, None] ** 2 + 0.002)
    error, power = (torch.fft.rfft2(k, s=(GRID, GRID)).abs() ** 2 * weight for k in (found - wanted, wanted))
    return error.mean((1, 2)) / power.mean((1, 2))


def moved_onto(wanted: Tensor, found: Tensor, reach: int = 3) -> Tensor:
    """Move (B, n, n) kernels by up to `reach` pixels to where they fit `found` best: no blur tells its place."""
    one, other = (torch.fft.rfft2(k, s=(GRID, GRID)) for k in (found, wanted))
    likeness = torch.fft.irfft2(one * other.conj(), s=(GRID, GRID)).roll((reach, reach), (1, 2))
    best = likeness[:, : 2 * reach + 1, : 2 * reach + 1].flatten(1).argmax(1).tolist()
    shifts = [(place // (2 * reach + 1) - reach, place % (2 * reach + 1) - reach) for place in best]
    return torch.stack([k.roll(shift, (0, 1)) for k, shift in zip(wanted, shifts, strict=True)])


def to_onnx(network: nn.Module, example: Tensor, out: Path, free: dict[int, str]) -> None:
    """Write `network` as an ONNX file; the axes in `free` may have any length."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / out.name
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["out"], "dynamic_axes": {"x": free}}
        torch.onnx.export(network, (example,), str(made), opset_version=17, dynamo=False, **names)
        out.write_bytes(made.read_bytes())


if __name__ == "__main__":
    what, source, out, minutes = sys.argv[1:5]
    (make_maps if what == "maps" else train)(Path(source), Path(out), float(minutes))
