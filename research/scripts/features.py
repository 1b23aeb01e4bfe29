"""How like the sharp images an F's results are to a network that recognises things, and how sharp they are.

    python research/scripts/features.py VGG19.safetensors FOLDER F.safetensors...

FOLDER holds pairs. For the blurry input and for every F: PSNR, SSIM (gaussian-2d), 1000 times the mean square
difference of VGG-19's features, and the sharpness over that of the sharp images. Needs the extra `train`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from golfdeblur import metrics
from golfdeblur.experiments import pictures
from golfdeblur.files import image
from golfdeblur.learning import checkpoint, golf, losses, perceptual


@torch.no_grad()
def main(weights: Path, folder: Path, paths: list[Path]) -> None:
    """Print one line for the input and one for every F."""
    features = perceptual.load_features("vgg19", weights).eval()
    for path in [None, *paths]:
        network = None if path is None else golf.Propagator(checkpoint.load_network(path)[0]).eval()
        rows = []
        for _, blurry, sharp in image.find_pairs(folder):
            x, reference = image.read_rgb8(blurry), image.read_rgb8(sharp)
            if network is not None:
                x = pictures.as_pixels(network(torch.from_numpy(pictures.as_input(x))).numpy())
            both = [torch.from_numpy(pictures.as_input(pixels)) for pixels in (x, reference)]
            distance = float(losses.perceptual(*both, features))
            sharpness = pictures.sharpness(x) / pictures.sharpness(reference)
            found = metrics.psnr(x, reference), metrics.ssim(x, reference, "gaussian-2d")
            rows.append((*found, 1000 * distance, sharpness))
        psnr_db, ssim, distance, sharpness = np.mean(rows, 0)
        scores = f"{psnr_db:.2f} dB, SSIM {ssim:.4f}, features {distance:.0f}, sharpness {sharpness:.2f}"
        print(f"{path or 'input'}: {scores}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
