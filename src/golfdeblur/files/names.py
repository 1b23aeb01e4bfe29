"""What the file of a result is called."""

from __future__ import annotations

from pathlib import Path

from golfdeblur.files import image

LONGEST_NAME = 255
"""Bytes of a name in usual file systems."""


FORMATS = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tif", "keep": None}
"""The formats that can be asked for, and how their names end; `keep` is the input's."""


def default_output(path: Path, wanted: str = "keep") -> Path:
    """Return where the result for `path` goes: beside it, as one of FORMATS; of what comes by a pipe into a pipe."""
    return image.STREAM if path == image.STREAM else beside(path, "-deblurred", output_suffix(path, wanted))


def output_suffix(path: Path, wanted: str = "keep") -> str:
    """Return how the name of the result for `path` ends: as `wanted`, or as its own if that format can be written."""
    if (asked := FORMATS[wanted]) is not None:
        return asked
    kind = image.SUFFIXES.get(path.suffix.lower(), "GIF")
    return image.WRITTEN_AS.get(kind, path.suffix)


def beside(path: Path, ending: str, suffix: str | None = None, *, hidden: bool = False) -> Path:
    """Return the path beside `path` whose name has `ending` before its suffix; too long a name loses letters there."""
    suffix, stem = path.suffix if suffix is None else suffix, "." * hidden + path.stem
    while len(f"{stem}{ending}{suffix}".encode(errors="surrogateescape")) > LONGEST_NAME:
        stem = stem[:-1]
    return path.parent / f"{stem}{ending}{suffix}"
