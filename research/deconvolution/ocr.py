"""Have the set `text` read: the share of characters that are right after a method, before it, and on the sharp page.

The engine is Tesseract (Debian's tesseract-ocr) or RapidOCR (pip install rapidocr-onnxruntime, with models inside).

    python research/deconvolution/ocr.py build/sets/val/text [tesseract|rapidocr] [--every N] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import golfdeblur

ENLARGED = 3
"""Tesseract reads letters of 20 px and more best; all pictures are made so much larger."""

Method = Callable[[np.ndarray], np.ndarray]
"""From a picture, (H, W, 3) uint8, to the same."""


def share_right(read: str, written: str) -> float:
    """Return 1 - edit distance / length, never below 0; how words are broken into lines does not matter."""
    read, written = " ".join(read.split()), " ".join(written.split())
    return max(0.0, 1 - edit_distance(read, written) / len(written))


def edit_distance(a: str, b: str) -> int:
    """Return how many characters must be put in, taken out or changed to make `b` of `a` (Levenshtein)."""
    letters, places = np.array(list(b)), np.arange(len(b) + 1)
    row = places
    for number, letter in enumerate(a, 1):
        changed = np.concatenate([[number], np.minimum(row[1:] + 1, row[:-1] + (letters != letter))])
        # What is put in costs one a place: a running minimum of cost less place.
        row = np.minimum.accumulate(changed - places) + places
    return int(row[-1])


def tesseract(picture: np.ndarray) -> str:
    """Read a picture as one block of English text."""
    height, width = picture.shape[:2]
    file = io.BytesIO()
    Image.fromarray(picture).resize((ENLARGED * width, ENLARGED * height), Image.Resampling.LANCZOS).save(file, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "6", "-l", "eng", "--dpi", "300"]
    return subprocess.run(command, input=file.getvalue(), capture_output=True, check=True).stdout.decode()


def rapidocr(picture: np.ndarray) -> str:
    """Read all boxes of text that the engine finds, from top to bottom."""
    found, _ = _rapid_engine()(np.ascontiguousarray(picture[..., ::-1]))
    return " ".join(text for _, text, _ in found or [])


@functools.cache
def _rapid_engine() -> Callable[[np.ndarray], tuple]:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()


ENGINES: dict[str, Callable[[np.ndarray], str]] = {"tesseract": tesseract, "rapidocr": rapidocr}


def measure(
    folder: Path, methods: dict[str, Method], engine: Callable[[np.ndarray], str], every: int = 1
) -> dict[str, dict[str, float]]:
    """Return the share right of every picture of the set by method, `sharp` (the truth) and `input` included."""
    facts = json.loads((folder / "meta.json").read_text())
    shares: dict[str, dict[str, float]] = {name: {} for name in ("sharp", "input", *methods)}
    for name, fact in list(facts.items())[::every]:
        sharp, blurry = (np.asarray(Image.open(folder / part / f"{name}.png")) for part in ("sharp", "blur"))
        pictures = {"sharp": sharp, "input": blurry, **{label: method(blurry) for label, method in methods.items()}}
        for label, picture in pictures.items():
            shares[label][name] = share_right(engine(picture), fact["text"])
    return shares


def main() -> None:
    """Print the mean shares of pages and signs, and write every picture's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("engine", choices=ENGINES, nargs="?", default="tesseract")
    parser.add_argument("--every", type=int, default=1, help="Only every so many pictures.")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = golfdeblur.load()
    methods = {blur: functools.partial(model.deblur, blur=blur) for blur in ("scene", "auto", "shake")}
    shares = measure(given.folder, methods, ENGINES[given.engine], given.every)
    print(f"{given.engine}, {given.folder}: share of characters read right")
    for label, by_name in shares.items():
        kinds = {kind: [v for name, v in by_name.items() if kind in name] for kind in ("page", "sign")}
        means = ", ".join(f"{kind}s {np.mean(v):.3f}" for kind, v in kinds.items())
        print(f"{label:>6}: all {np.mean(list(by_name.values())):.3f}, {means}")
    if given.json:
        given.json.write_text(json.dumps(shares, indent=1) + "\n")


if __name__ == "__main__":
    main()
