"""Make the pairs of the sets `still` and `moved`: held-out photographs out of focus, before a camera that moves or not.

Two scenes for each photograph (`blur.put_out_of_focus`), half of them behind an object in focus, cut from the same
photograph or the next; what is out of focus is so in both images of a pair. Of a still one the blurry image is the
sharp one with a sensor's noise. Needs the extra `train`.

    python research/scripts/defocused_pairs.py DATA OUT
"""

import sys
from pathlib import Path

import torch

from golfdeblur.experiments import pictures
from golfdeblur.files import image
from golfdeblur.learning import blur, data, pairs

SIDE, SIGMA = 448, 0.003


def main(source: Path, out: Path) -> None:
    """Write OUT/still and OUT/moved, each with blur/ and sharp/."""
    generator = torch.Generator().manual_seed(8)
    config = blur.BlurConfig(length_px=(2, 50), bend_px=(1.4, 6.0), spin_degrees=0.7, zoom=0.008, jpeg=0, noisy=0)
    lens = blur.BlurConfig(defocused=1.0)
    paths = [p for folder in ("photos", "urban") for p in image.images_in(source / folder)[:: data.HELD_OUT_EVERY]]
    side = SIDE + 2 * config.margin_px
    crops = [torch.from_numpy(pictures.as_input(pictures.crop(image.read_rgb8(path), side))) for path in paths]
    scenes, _ = blur.put_out_of_focus(torch.cat(crops).repeat_interleave(2, 0), generator, lens)
    blurry, sharp = blur.random_pairs(scenes, generator, config, size_px=SIDE)
    still = (sharp + SIGMA * torch.randn(sharp.shape, generator=generator)).clamp(0, 1)
    for index in range(len(scenes)):
        for kind, images in (("still", still), ("moved", blurry)):
            pair = tuple((255 * x[index]).round().byte() for x in (images, sharp))
            pairs.write_pair((*pair, f"{paths[index // 2].stem}-{index % 2 + 1}"), out / kind)


main(*map(Path, sys.argv[1:3]))
