"""Make the pairs of the set `uniform`: y = k * x + n (eq. 1) with the eight camera-shake kernels of Levin et al. 2009.

The photographs are those that training holds out; the set is always the same. Needs the extra `train`.

    python docs/results/uniform_pairs.py DATA OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from golfdeblur import image
from golfdeblur.learning import blur, data, pairs

SIDE, SIGMA = 512, 0.005


def main(source: Path, out: Path) -> None:
    """Write OUT/blur and OUT/sharp."""
    generator = torch.Generator().manual_seed(0)
    kernels = [np.asarray(Image.open(p), np.float32) for p in sorted((source / "levin09" / "gt").glob("kernel*.png"))]
    for path in image.find(source / "photos")[:: data.HELD_OUT_EVERY]:
        pixels = image.read_rgb8(path)
        top, left = ((n - SIDE) // 2 for n in pixels.shape[:2])
        crop = torch.from_numpy(pixels[top : top + SIDE, left : left + SIDE].copy()).permute(2, 0, 1)[None] / 255
        for number, kernel in enumerate(kernels, 1):
            taps = torch.from_numpy(kernel / kernel.sum())
            pair = blur.uniform_pair(crop, taps, sigma=SIGMA, generator=generator)
            blurry, sharp = ((255 * x[0]).round().byte() for x in pair)
            pairs.write_pair((blurry, sharp, f"{path.stem}-kernel{number}"), out)


main(*map(Path, sys.argv[1:3]))
