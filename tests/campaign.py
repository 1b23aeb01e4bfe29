"""What test_reliability.py does in processes of their own, so that a crash, a hang or too much memory ends only one.

python -m tests.campaign images JPEG SEED COUNT
"""

from __future__ import annotations

import hashlib
import io
import json
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from golfdeblur import offline
from golfdeblur.errors import GolfError

SECONDS = 10
"""Of the processor, for one input."""

MEMORY = 4 << 30
"""Bytes of address space."""

CLIPS = {"mp4": "interlaced.mp4", "mkv": "audio3.mkv"}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with one kind of damage: other bytes, bits, a hole, zeros, a piece twice, or an early end."""
    made = bytearray(content)
    place, length = int(rng.integers(len(made))), int(rng.integers(1, 64))
    kind = int(rng.integers(6))
    if kind == 0:
        for index in rng.integers(0, len(made), rng.integers(1, 17)):
            made[index] = rng.integers(256)
    elif kind == 1:
        made[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del made[place : place + length]
    elif kind == 3:
        made[place : place + length] = bytes(len(made[place : place + length]))
    elif kind == 4:
        made[place:place] = made[place : place + length]
    else:
        del made[place:]
    return bytes(made)


def picture(kind: str) -> bytes:
    """Return a small file of this kind with all that such files say beside their pixels."""
    rows, columns = np.mgrid[0:40, 0:56]
    pixels = np.stack([rows * 6, columns * 4, (rows * columns) % 256], 2).astype(np.uint8)
    exif = Image.Exif()
    exif[271], exif[274] = "Cam", 6
    exif.get_ifd(0x8769)[36867] = "2024:01:02 03:04:05"
    options: dict = {"exif": exif.tobytes()} if kind != "TIFF" else {"dpi": (72, 72), "compression": "tiff_lzw"}
    if kind == "PNG":
        options["pnginfo"] = texts = PngInfo()
        texts.add_text("Title", "words", zip=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def images(kind: str, rng: np.random.Generator, count: int) -> Counter[str]:
    """Read damaged images, and write again what could be read."""
    from golfdeblur.files import image

    content, said = picture(kind), Counter[str]()
    suffix = next(suffix for suffix, name in image.SUFFIXES.items() if name == kind)
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / f"in{suffix}", Path(folder) / f"out{suffix}"
        for index in begun(count):
            given.write_bytes(mutated(content, rng))
            try:
                image.write(image.read(given), out, force=True)
                said["pictures"] += 1
            except GolfError:
                said["refused"] += 1
            assert {p.name for p in Path(folder).iterdir()} <= {given.name, out.name}, index
    return said


def clips(kind: str, rng: np.random.Generator, count: int) -> Counter[str]:
    """Read damaged clips, and write again what could be read."""
    from golfdeblur import video

    content, said = (Path(__file__).parent / "cases" / CLIPS[kind]).read_bytes(), Counter[str]()
    for index in begun(count):
        with tempfile.TemporaryDirectory() as folder:
            given, out = Path(folder) / f"in.{kind}", Path(folder) / f"out.{kind}"
            given.write_bytes(mutated(content, rng))
            try:
                video.deblur_video(lambda x: x, given, out, cut=video.Cut(), seen=lambda frame, total: None)
                said["clips"] += 1
            except GolfError:
                said["refused"] += 1
            assert {p.name for p in Path(folder).iterdir()} <= {given.name, out.name, f"out-partial.{kind}"}, index
    return said


def models(file: str, rng: np.random.Generator, count: int) -> Counter[str]:
    """Load models of which `file` is damaged, the checksums set right again, and run what could be loaded."""
    import golfdeblur
    from golfdeblur.weights import EMBEDDED

    offline.silence()
    content, said = (EMBEDDED / "fast" / file).read_bytes(), Counter[str]()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(EMBEDDED / "fast", model)
        config = json.loads((model / "config.json").read_text())
        for _ in begun(count):
            (model / file).write_bytes(damaged := mutated(content, rng))
            if file != "config.json":
                config["networks"][file[0]]["sha256"] = hashlib.sha256(damaged).hexdigest()
                (model / "config.json").write_text(json.dumps(config))
            try:
                golfdeblur.load(model, runtime="onnxruntime").deblur(pixels, steps=1)
                said["loaded"] += 1
            except GolfError:
                said["refused"] += 1
    return said


def begun(count: int):  # type: ignore[no-untyped-def]
    """Yield the numbers below `count`; whoever takes too long at one is killed, and it is the last printed."""
    for index in range(count):
        print(index, flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        yield index
    signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    what, kind, seed, count = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    work = {"images": images, "clips": clips, "models": models}[what]
    print(json.dumps(work(kind, np.random.default_rng(int(seed)), int(count))))
