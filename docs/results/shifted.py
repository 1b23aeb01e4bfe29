"""Print the mean PSNR of a set, results as they lie and each at its best shift, as Levin et al. 2009 compare them.

    python docs/results/shifted.py SET MODEL [STEPS]

SET holds blur/ and sharp/. A blur does not tell where the camera stood; where its kernel does not lie in the middle, a
result is as right as any other if it is moved, and the sharper it is, the more PSNR the move costs (docs/log.md).
"""

import itertools
import sys
from pathlib import Path

import numpy as np

import golfdeblur
from golfdeblur import image, metrics

REACH = 8
"""Whole px to either side that a result is moved at most; as wide a border is left out."""


def psnrs(result: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
    """Return the PSNR in dB of `result` as it lies and at its best shift, both (H, W, 3) uint8."""
    middle = slice(REACH, -REACH)
    target = sharp[middle, middle]
    height, width = target.shape[:2]
    found = {
        (y, x): metrics.psnr(result[y : y + height, x : x + width], target)
        for y, x in itertools.product(range(2 * REACH + 1), repeat=2)
    }
    return found[REACH, REACH], max(found.values())


def main(folder: Path, name: str, steps: int) -> None:
    """Measure the blurry images and what the model makes of them."""
    model = golfdeblur.load(name)
    rows = []
    for _, blurry_path, sharp_path in image.find_pairs(folder):
        blurry, sharp = image.read_rgb8(blurry_path), image.read_rgb8(sharp_path)
        rows.append(psnrs(blurry, sharp) + psnrs(model.deblur(blurry, steps=steps), sharp))
    means = np.mean(rows, axis=0)
    print(f"input {means[0]:.2f} dB, at its best shift {means[1]:.2f}")
    print(f"{name} {means[2]:.2f} dB, at its best shift {means[3]:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
