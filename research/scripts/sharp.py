"""Measure what happens to sharp photos, and how often --keep-sharp is right; renew their table in research/scores.md.

    python research/scripts/sharp.py DATA
    python research/scripts/sharp.py DATA training

The second prints the blurriness of images that are trained on, in order: `sharpness.SHARP_BELOW` is chosen by them.

Needs the extra `train` for the list of the photographs that training holds out.
"""

import json
import sys
from pathlib import Path

import numpy as np

import golfdeblur
from golfdeblur import metrics
from golfdeblur.files import image
from golfdeblur.files.picture import from_samples
from golfdeblur.learning.data import HELD_OUT_EVERY
from golfdeblur.sharpness import blurriness, why_keep

ROOT = Path(__file__).parent.parent.parent
BEGIN, END = "<!-- sharp: begin -->\n", "<!-- sharp: end -->"


def kept(model: golfdeblur.Model, paths: list[Path]) -> str:
    """Return how many of the photos --keep-sharp leaves alone."""
    count = 0
    for path in paths:
        picture = from_samples(image.read_rgb8(path))
        count += why_keep(model, picture, model.restore(picture)) is not None
    return f"{count} of {len(paths)}"


def training(data: Path) -> None:
    """Print the blurriness of sharp and blurry images that are trained on."""
    model = golfdeblur.load()
    pairs = image.find_pairs(data / "reds_train")[::8] + image.find_pairs(data / "gopro_avg_train")
    photos = [
        path
        for name in ("photos", "urban")
        for index, path in enumerate(image.images_in(data / name))
        if index % HELD_OUT_EVERY
    ]
    found = []
    for kind, paths in {
        "photo": photos[::6],
        "sharp": [sharp for _, _, sharp in pairs],
        "blurry": [blurry for _, blurry, _ in pairs],
    }.items():
        for path in paths:
            picture = from_samples(image.read_rgb8(path))
            found.append((blurriness(picture, model.restore(picture, steps=0).changes[0]), kind, path.name))
    for value, kind, name in sorted(found):
        print(f"{value:.3f} {kind} {name}")


def main(data: Path) -> None:
    """Write build/results/sharp.json and the table."""
    model = golfdeblur.load()
    held_out = image.images_in(data / "photos")[::HELD_OUT_EVERY]
    psnr = {}
    for path in held_out:
        pixels = image.read_rgb8(path)
        psnr[path.name] = round(metrics.psnr(model.deblur(pixels), pixels), 2)
    pairs = [
        pair for name in ("reds_val", "gopro_avg_train", "gopro_crops_train") for pair in image.find_pairs(data / name)
    ]
    found = {
        "psnr_db": psnr,
        "mean_psnr_db": round(float(np.mean(list(psnr.values()))), 2),
        "kept": {
            f"{len(held_out)} held-out sharp photographs": kept(model, held_out),
            "sharp sides of reds_val, gopro_avg_train, gopro_crops_train": kept(
                model, [sharp for _, _, sharp in pairs]
            ),
            "blurry sides of the same": kept(model, [blurry for _, blurry, _ in pairs]),
        },
    }
    (ROOT / "build" / "results" / "sharp.json").write_text(json.dumps(found, indent=1) + "\n")
    values = sorted(psnr.values())
    lines = [
        f"{len(values)} held-out sharp photographs come back at {found['mean_psnr_db']:.1f} dB on average "
        f"(median {np.median(values):.1f}, worst {values[0]:.1f} and {values[1]:.1f}).\n",
        "| photos | left alone by `--keep-sharp` |",
        "|---|---|",
        *(f"| {name} | {share} |" for name, share in found["kept"].items()),
    ]
    scores = ROOT / "research" / "scores.md"
    before, _, rest = scores.read_text().partition(BEGIN)
    scores.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.partition(END)[2])


match sys.argv[1:]:
    case [data]:
        main(Path(data))
    case [data, "training"]:
        training(Path(data))
    case given:
        sys.exit(f"sharp.py was given {given}; give DATA, or DATA training.")
