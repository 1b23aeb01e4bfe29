"""Measure how a hand moves a camera: length, bend, rotation and zoom over 11 frames of a high-speed video.

    python research/scripts/paths.py clip.mp4

Shifts between neighbouring frames are found in three regions by iterated least squares (Lucas and Kanade), added up,
and every run of 11 frames is fitted by velocity * t + bend * t^2, t in [-1, 1], as `motion.CameraPath` has it. Needs
the extra `train`.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.learning import data

FRAMES, EVERY = 11, 3
QUANTILES = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
ROWS = slice(160, 560)
COLUMNS = {"left": slice(0, 400), "middle": slice(340, 940), "right": slice(880, 1280)}
APART_PX = 880
"""Between the middles of the left and the right region."""


def shift(before: Tensor, after: Tensor) -> Tensor:
    """Return the (x, y) by which the picture moved from `before` to `after`, (H, W) each, in pixels."""
    height, width = before.shape
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    spectrum, window = torch.fft.rfft2(after), torch.hann_window(height)[:, None] * torch.hann_window(width)[None]
    found = torch.zeros(2)
    for _ in range(6):
        phase = torch.exp(2j * math.pi * (rows * found[1] + columns * found[0]))
        moved = torch.fft.irfft2(spectrum * phase, s=before.shape)
        across = (moved.roll(-1, 1) - moved.roll(1, 1)) / 2
        down = (moved.roll(-1, 0) - moved.roll(1, 0)) / 2
        slopes = torch.stack([across, down]).flatten(1)
        weighted = slopes * window.flatten()
        found = found + torch.linalg.solve(weighted @ slopes.T, weighted @ (before - moved).flatten())
    return found


def main(clip: Path) -> None:
    """Print the quantiles."""
    binomial = torch.tensor([1.0, 2.0, 1.0])
    kernel = (binomial[:, None] * binomial / 16)[None, None]
    frames = (frame.float().mean(0, keepdim=True) for frame in data.stream_video(clip))
    smooth = torch.stack([nf.conv2d(grey[None], kernel, padding=1)[0, 0, ROWS] for grey in frames])
    paths = {}
    for name, columns in COLUMNS.items():
        steps = [shift(a, b) for a, b in zip(smooth[:-1, :, columns], smooth[1:, :, columns], strict=True)]
        paths[name] = torch.cat([torch.zeros(1, 2), torch.stack(steps).cumsum(0)])
    t = torch.linspace(-1, 1, FRAMES)
    found: dict[str, list[Tensor]] = {"length px": [], "bend px": [], "rotation degrees": [], "zoom": []}
    for first in range(0, len(smooth) - FRAMES + 1, EVERY):
        run = {name: path[first : first + FRAMES] for name, path in paths.items()}
        middle = run["middle"] - run["middle"][FRAMES // 2]
        velocity, bend, _ = torch.linalg.lstsq(torch.stack([t, t**2, t**3], 1), middle).solution
        apart = (run["right"][-1] - run["right"][0]) - (run["left"][-1] - run["left"][0])
        found["length px"].append(2 * velocity.norm())
        found["bend px"].append(bend.norm())
        found["rotation degrees"].append((apart[1] / APART_PX).abs().rad2deg())
        found["zoom"].append((apart[0] / APART_PX).abs())
    print("quantiles 10, 25, 50, 75, 90 %")
    for name, values in found.items():
        print(f"{name:18}", *(f"{q:8.4f}" for q in torch.stack(values).quantile(QUANTILES).tolist()))


main(Path(sys.argv[1]))
