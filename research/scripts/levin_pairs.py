"""Make the pairs of two sets from the data of Levin et al. 2009, OUT/levin09 and OUT/uniform.

`levin09` is their own 32 photographs of real camera shake beside what a camera at rest saw, and their kernels.
`uniform` is y = k * x + n (eq. 1) with their eight kernels on the photographs that training holds out. Both are always
the same. Needs the extra `train`.

    python research/scripts/levin_pairs.py DATA OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from golfdeblur.experiments import pictures
from golfdeblur.files import image
from golfdeblur.learning import data, pairs
from golfdeblur.learning.uniform import uniform_pair

SIDE, SIGMA = 512, 0.005

AS_STORED = "48"
"""The kernels that blur a sharp photograph to its blurry one as they are; the other six do so turned round."""


def shaken(source: Path, out: Path) -> None:
    """Pair every photograph of shake with the one at rest, which is the same for eight of them."""
    for path in sorted(source.glob("im*_kernel*_img.png")):
        sharp = source / "gt" / f"{path.name.split('_')[0]}.png"
        both = (torch.from_numpy(image.read_rgb8(file).copy()).permute(2, 0, 1) for file in (path, sharp))
        name = path.stem.removesuffix("_img")
        pairs.write_pair((*both, name), out)
        taps = np.asarray(Image.open(source / "gt" / f"{name.split('_')[1]}.png"), np.float32)
        (out / "kernel").mkdir(exist_ok=True)
        taps = taps if name[-1] in AS_STORED else taps[::-1, ::-1]
        np.save(out / "kernel" / f"{name}.npy", taps / taps.sum())


def uniform(source: Path, out: Path) -> None:
    """Blur the middles of the held-out photographs with every kernel."""
    generator = torch.Generator().manual_seed(0)
    kernels = [np.asarray(Image.open(p), np.float32) for p in sorted((source / "levin09" / "gt").glob("kernel*.png"))]
    for path in image.images_in(source / "photos")[:: data.HELD_OUT_EVERY]:
        crop = torch.from_numpy(pictures.as_input(pictures.crop(image.read_rgb8(path), SIDE)))
        for number, kernel in enumerate(kernels, 1):
            taps = torch.from_numpy(kernel / kernel.sum())
            pair = uniform_pair(crop, taps, sigma=SIGMA, generator=generator)
            blurry, sharp = ((255 * x[0]).round().byte() for x in pair)
            pairs.write_pair((blurry, sharp, f"{path.stem}-kernel{number}"), out)


if __name__ == "__main__":
    shaken(Path(sys.argv[1]) / "levin09", Path(sys.argv[2]) / "levin09")
    uniform(Path(sys.argv[1]), Path(sys.argv[2]) / "uniform")
