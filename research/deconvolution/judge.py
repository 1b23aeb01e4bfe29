"""Train J, the network that tells without the truth what a stroke gains, and write it as an ONNX file.

It sees windows of the set `val`, where the truth is known: Y, F(y), the stroke's x1 and F(x1), in grey. Scenes are
held out in turns to choose `uniformity.LEAST_GAIN_DB`; the embedded network saw all of them. Needs the extra `train`.

    python research/deconvolution/judge.py windows SETS/val OUT
    python research/deconvolution/judge.py train OUT J.onnx MINUTES [THIRD]

With THIRD, 0 to 2, that third of the scenes is held out and scored.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nf
from finder import to_onnx
from PIL import Image
from torch import Tensor, nn

import golfdeblur
from golfdeblur.deconvolution import light
from golfdeblur.engine.deconvolving import WINDOW_PX, Deconvolution, Deconvolver, busiest
from golfdeblur.learning.optimiser import Optimiser

EVERY = {"shaken": 4, "moving": 4, "sharp": 9, "text": 12, "defocused": 10}
"""Of each set every so many pictures; the stroke of one takes some five seconds."""

CHANNELS = (4, 16, 24, 32, 40)
SCALES = (2.0, 8.0, 8.0, 16.0)
BLOCK_PX, CROP_PX, MOST_DB, SHIFT_PX = 32, 256, 6.0, 3
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


def make_windows(source: Path, out: Path) -> None:
    """Write the window of each picture, what the judge sees of it and the gain of its blocks, as OUT/SET-NAME.npz."""
    model = golfdeblur.load()
    out.mkdir(parents=True, exist_ok=True)
    for name, every in EVERY.items():
        for path in sorted((source / name / "blur").glob("*.png"))[::every]:
            y, sharp = (_pixels(source / name / part / path.name) for part in ("blur", "sharp"))
            x0 = model.f(y)
            deconvolver = Deconvolver(y, model.f, Deconvolution(), model.stroke)
            deconvolver.kernel = deconvolver.explained(x0).kernel
            x1 = np.clip(deconvolver(x0), 0, 1)
            planes = [light.luminance(p[0]) for p in (y, np.clip(x0, 0, 1), x1, model.f(x1), sharp)]
            rows, columns = busiest(planes[1], WINDOW_PX)
            y1, before, made, again, truth = (p[rows, columns] for p in planes)
            seen = np.stack([before, made - before, y1 - before, again - made])
            gain = blocks(error(before, truth)), blocks(error(made, truth))
            np.savez(out / f"{name}-{path.stem}.npz", x=seen.astype(np.float16), before=gain[0], after=gain[1])


def error(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the squared error of `x` where the truth, moved by up to SHIFT_PX, fits it best."""
    reach = range(-SHIFT_PX, SHIFT_PX + 1)
    errors = ((x - np.roll(truth, (down, right), (0, 1))) ** 2 for down in reach for right in reach)
    return min(errors, key=lambda e: float(e[8:-8, 8:-8].mean()))


def blocks(plane: np.ndarray) -> np.ndarray:
    """Return the means of blocks of a plane cut to whole cells of 64 px."""
    height, width = (n // 64 * 64 for n in plane.shape)
    cells = plane[:height, :width].reshape(height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    return cells.mean((1, 3))


def scene(name: str) -> str:
    """Return the scene of a window's name: its photograph, REDS folder or GoPro sequence."""
    named = re.search(r"reds_train-\d+|reds_val|GOPR\d+|popos-\d+|elementary-\d+|unsplash42-\d+", name)
    numbered = re.match(r"\w+-\d{3}-(\d{3})(?=-|$)", name)
    return named.group() if named else numbered.group(1) if numbered else name


def train(source: Path, out: Path, minutes: float, third: int | None) -> None:
    """Train on all windows, or on those of two thirds of the scenes, and then score the others."""
    windows = {path.stem: np.load(path) for path in sorted(source.glob("*.npz"))}
    scenes = sorted({scene(name) for name in windows})
    order = np.random.default_rng(1).permutation(len(scenes))
    held = set() if third is None else {scenes[i] for i in order[third::3]}
    shown = [_pair(window) for name, window in windows.items() if scene(name) not in held]
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
    for name, window in windows.items():
        if scene(name) in held:
            with torch.no_grad():
                expected = float(averaged(_pair(window)[0][None]).mean())
            gained = 10 * math.log10(float(window["before"].mean() / window["after"].mean()))
            print(f"{name} expected {expected:.2f} gained {gained:.2f}")
    to_onnx(averaged.eval(), torch.rand(1, 4, 128, 192), out, {0: "batch", 2: "height", 3: "width"})


def _pair(window: np.lib.npyio.NpzFile) -> tuple[Tensor, Tensor]:
    before, after = window["before"], window["after"]
    gain = (10 * np.log10((before + 2e-5) / (after + 2e-5))).clip(-MOST_DB, MOST_DB)
    height, width = (BLOCK_PX * n for n in gain.shape)
    return torch.from_numpy(window["x"][:, :height, :width]).float(), torch.from_numpy(gain).float()


def _cut(shown: list[tuple[Tensor, Tensor]], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, target = shown[int(torch.randint(len(shown), (), generator=generator))]
    side = CROP_PX // BLOCK_PX
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in target.shape)
    target = target[top : top + side, left : left + side]
    x = x[:, BLOCK_PX * top :, BLOCK_PX * left :][:, :CROP_PX, :CROP_PX]
    turn = int(torch.randint(8, (), generator=generator))
    x, target = torch.rot90(x, turn % 4, (-2, -1)), torch.rot90(target, turn % 4, (-2, -1))
    return (x.flip(-1), target.flip(-1)) if turn > 3 else (x, target)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255


if __name__ == "__main__":
    if sys.argv[1] == "windows":
        make_windows(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        third = int(sys.argv[5]) if len(sys.argv) > 5 else None
        train(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), third)
