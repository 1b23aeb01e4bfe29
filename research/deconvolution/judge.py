"""Train J, the network that tells without the truth what a stroke gains, and write it as an ONNX file.

It learns from examples (examples.py): y, F(y), the stroke's x1 and F(x1), in grey, and is judged by others, by which
`uniformity.LEAST_GAIN_DB` is chosen. Needs the extra `train`.

    python research/deconvolution/judge.py EXAMPLES JUDGED_BY J.onnx MINUTES
"""

from __future__ import annotations

import copy
import itertools
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nf
from finder import to_onnx
from torch import Tensor, nn

from golfdeblur.learning.optimiser import Optimiser

CHANNELS = (4, 16, 24, 32, 40)
SCALES = (2.0, 8.0, 8.0, 16.0)
BLOCK_PX, CROP_PX, MOST_DB = 32, 256, 6.0
BATCH, LR, EMA = 12, 2e-3, 0.99


class Judge(nn.Module):
    """Map (B, 4, H, W), x0, x1 - x0, y - x0 and F(x1) - x1, to the gain in dB of each block, (B, H / 32, W / 32)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (given, made) in enumerate(itertools.pairwise(CHANNELS)):
            side = 3 if index else 5
            layers += [nn.Conv2d(given, made, side, stride=2, padding=side // 2), nn.ReLU()]
            if index > 1:
                layers += [nn.Conv2d(made, made, 3, padding=1), nn.ReLU()]
        last = CHANNELS[-1]
        self.net = nn.Sequential(*layers, nn.Conv2d(last, last, 2, stride=2), nn.ReLU(), nn.Conv2d(last, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the gain of each block."""
        return self.net(x * torch.tensor(SCALES)[:, None, None])[:, 0]


def train(source: Path, judged_by: Path, out: Path, minutes: float) -> None:
    """Train on the examples in `source`."""
    shown = [_pair(np.load(path)) for path in sorted(source.glob("*.npz"))]
    network, generator = Judge(), torch.Generator().manual_seed(0)
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = Optimiser(network, "muon", betas=(0.9, 0.99), weight_decay=0.0)
    started, step = time.monotonic(), 0
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
        x, target = (torch.stack(part) for part in zip(*(_cut(shown, generator) for _ in range(BATCH)), strict=True))
        found = network(x)
        whole = nf.smooth_l1_loss(found.mean((1, 2)), target.mean((1, 2)))
        (nf.smooth_l1_loss(found, target) + whole).backward()
        optimiser.step(LR * (1 + math.cos(math.pi * done)) / 2 * min(1, (step + 1) / 30) + 1e-6)
        step += 1
        with torch.no_grad():
            share = 1 - min(EMA, step / (step + 9))
            torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), share)
    for path in sorted(judged_by.glob("*.npz")):
        example = np.load(path)
        with torch.no_grad():
            expected = float(averaged(_pair(example)[0][None].float()).mean())
        gained = 10 * math.log10(float(example["before"].mean() / example["after"].mean()))
        print(f"{path.stem} expected {expected:.2f} gained {gained:.2f}")
    to_onnx(averaged.eval(), torch.rand(1, 4, 128, 192), out, {0: "batch", 2: "height", 3: "width"})


def _pair(window: np.lib.npyio.NpzFile) -> tuple[Tensor, Tensor]:
    before, after = window["before"], window["after"]
    gain = (10 * np.log10((before + 2e-5) / (after + 2e-5))).clip(-MOST_DB, MOST_DB)
    height, width = (BLOCK_PX * n for n in gain.shape)
    return torch.from_numpy(window["seen"][:, :height, :width]), torch.from_numpy(gain).float()


def _cut(shown: list[tuple[Tensor, Tensor]], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, target = shown[int(torch.randint(len(shown), (), generator=generator))]
    side = CROP_PX // BLOCK_PX
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in target.shape)
    target = target[top : top + side, left : left + side]
    x = x[:, BLOCK_PX * top :, BLOCK_PX * left :][:, :CROP_PX, :CROP_PX].float()
    turn = int(torch.randint(8, (), generator=generator))
    x, target = torch.rot90(x, turn % 4, (-2, -1)), torch.rot90(target, turn % 4, (-2, -1))
    return (x.flip(-1), target.flip(-1)) if turn > 3 else (x, target)


if __name__ == "__main__":
    train(*map(Path, sys.argv[1:4]), float(sys.argv[4]))
