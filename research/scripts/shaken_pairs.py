"""Make the pairs of the set `shaken`: held-out photographs as an unsteady hand would have taken them, always the same.

Two kernels of `uniform.random_kernels` for each photograph; one blurs its light, one its pixel values. Needs the extra
`train`.

    python research/scripts/shaken_pairs.py DATA OUT
"""

import sys
from pathlib import Path

import torch

from golfdeblur.experiments import pictures
from golfdeblur.files import image
from golfdeblur.learning import blur, data, pairs, uniform

SIDE, SIGMA, EXTENT_PX = 448, 0.003, (4.0, 32.0)


def main(source: Path, out: Path) -> None:
    """Write OUT/blur and OUT/sharp."""
    generator = torch.Generator().manual_seed(7)
    side = SIDE + 2 * uniform.reach_px(EXTENT_PX[1])
    for folder in ("photos", "urban"):
        for path in image.images_in(source / folder)[:: data.HELD_OUT_EVERY]:
            crop = torch.from_numpy(pictures.as_input(pictures.crop(image.read_rgb8(path), side)))
            kernels = uniform.random_kernels(generator, 2, EXTENT_PX)
            for kernel, gamma in zip(kernels, (1.0, blur.GAMMA), strict=True):
                light, sharp = uniform.uniform_pair(crop**gamma, kernel, generator=generator)
                noise = SIGMA * torch.randn(sharp.shape, generator=generator)
                both = (light ** (1 / gamma) + noise).clamp(0, 1), sharp ** (1 / gamma)
                blurry, sharp = ((255 * x[0]).round().byte() for x in both)
                pairs.write_pair((blurry, sharp, f"{path.stem}-{'light' if gamma > 1 else 'pixels'}"), out)


main(*map(Path, sys.argv[1:3]))
