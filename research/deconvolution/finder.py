"""Train K, the network that finds kernels in the maps of `estimation.Reader`, and write it as an ONNX file.

It learns from examples (examples.py) of both readings, the first and the next, and is judged by others. Needs the
extra `train`.

    python research/deconvolution/finder.py EXAMPLES JUDGED_BY K.onnx MINUTES
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

from golfdeblur.deconvolution import estimation
from golfdeblur.learning.layers import PixelShuffle, ResidualBlock
from golfdeblur.learning.optimiser import Optimiser

SIDE = estimation.FINDER_PX
WIDTHS, BLOCKS = (24, 40), (2, 3)
BATCH, LR, EMA = 24, 2e-3, 0.995
GRID = 64
"""Kernels are compared at the frequencies of a plane of this side."""


class Finder(nn.Module):
    """Find kernels: (B, 5, SIDE, SIDE) maps to (B, 1, SIDE, SIDE) of sum 1, by a U-Net of two levels and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        (wide, deep), (few, many) = WIDTHS, BLOCKS
        self.head = nn.Conv2d(5, wide, 3, padding=1)
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


def load(folder: Path) -> tuple[Tensor, Tensor]:
    """Return the maps of both readings and the kernels of all examples that have one."""
    maps, wanted, windows = [], [], set()
    for path in sorted(folder.glob("*.npz")):
        example = np.load(path)
        if not example["kernel"].size:
            continue
        window = path.stem.rpartition("-")[0]
        readings = ("next",) if window in windows else ("first", "next")  # the first is the same for all its kernels
        windows.add(window)
        maps += [example[reading] for reading in readings]
        wanted += [example["kernel"]] * len(readings)
    kernels = torch.from_numpy(np.array(wanted)).float()
    return torch.from_numpy(np.array(maps)).float(), kernels / kernels.sum((1, 2), keepdim=True)


def train(source: Path, judged_by: Path, out: Path, minutes: float) -> None:
    """Train on the examples in `source`."""
    maps, wanted = load(source)
    network, generator = Finder(), torch.Generator().manual_seed(0)
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = Optimiser(network, "muon", betas=(0.9, 0.99), weight_decay=0.0)
    started, step = time.monotonic(), 0
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        chosen = torch.randint(len(maps), (BATCH,), generator=generator)
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
    maps, wanted = load(judged_by)
    with torch.no_grad():
        found = averaged(maps)[:, 0]
        left = distance(found, moved_onto(wanted, found))
    print(f"{step} steps; wrong of a kernel's power: mean {float(left.mean()):.3f}, median {float(left.median()):.3f}")
    to_onnx(averaged.eval(), torch.rand(8, 5, SIDE, SIDE), out, {0: "batch"})


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
    train(*map(Path, sys.argv[1:4]), float(sys.argv[4]))
