"""Print how much of restoring a JPEG of 12 megapixels is spent inside the networks.

python research/scripts/time_split.py PHOTO [STEPS]

PHOTO, any photo, is enlarged to 4000 x 3000 px first.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")  # as the command does, before numpy is imported

import golfdeblur
from golfdeblur import runtimes


def main(photo: Path, steps: int) -> None:
    """Deblur the photo twice, and print the seconds of both."""
    inside = [0.0]
    call = runtimes.Session.__call__

    def timed(session: runtimes.Session, x: object) -> object:
        start = time.perf_counter()
        try:
            return call(session, x)  # type: ignore[arg-type]
        finally:
            inside[0] += time.perf_counter() - start

    runtimes.Session.__call__ = timed  # type: ignore[assignment,method-assign]
    model = golfdeblur.load()
    large = Image.open(photo).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first.jpg", "second.jpg"):
            path = Path(folder) / name
            large.save(path, quality=95)
            inside[0] = 0.0
            start = time.perf_counter()
            model.deblur(path, steps=steps)
            whole = time.perf_counter() - start
            print(f"{whole:.2f} s with the files, {inside[0]:.2f} s inside the networks: {inside[0] / whole:.0%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
