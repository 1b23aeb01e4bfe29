"""Make docs/pictures/gallery.jpg: the middle of real frames at 100 %: input, x0, the last stroke and the sharp frame.

    python docs/pictures/gallery.py DATA

GoPro and REDS frames: CC BY 4.0 (Nah et al. 2017, 2019). Needs the extra `train`, for its sheet of crops.
"""

import sys
from pathlib import Path

import golfdeblur
from golfdeblur.experiments.pictures import crop
from golfdeblur.files import image
from golfdeblur.sheet import grid

FRAMES = (
    ("gopro_test", "GOPR0384_11_00-000001"),
    ("gopro_test", "GOPR0881_11_01-000300"),
    ("gopro_test", "GOPR0410_11_00-000111"),
    ("reds_val", "00000002"),
)


def main(data: Path) -> None:
    """Write the picture."""
    model = golfdeblur.load()
    rows = []
    for folder, name in FRAMES:
        (paths,) = [(y, x) for found, y, x in image.find_pairs(data / folder) if Path(found).stem == name]
        blurry, sharp = map(image.read_rgb8, paths)
        made = list(model.strokes(blurry, steps=3))
        shown = ((name, blurry), ("x0", made[0]), (f"x{len(made) - 1}", made[-1]), ("sharp", sharp))
        rows.append([(label, crop(pixels, 300)) for label, pixels in shown])
    grid(rows).save(Path(__file__).parent / "gallery.jpg", quality=90)


main(Path(sys.argv[1]))
