"""What the file of a result is called."""

from __future__ import annotations

from pathlib import Path

from golfdeblur.files import image


def default_output(path: Path) -> Path:
    """Return where the result for `path` goes: beside it, in its own format if that can be written."""
    return path.parent / f"{path.stem}-deblurred{output_suffix(path)}"


def output_suffix(path: Path) -> str:
    """Return how the name of the result for `path` ends: as its own, if that format can be written."""
    kind = image.SUFFIXES.get(path.suffix.lower(), "GIF")
    return image.WRITTEN_AS.get(kind, path.suffix)
