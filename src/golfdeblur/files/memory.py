"""Image files that are bytes in memory, as servers and workers have them: nothing is written to a disk."""

from __future__ import annotations

import io
from pathlib import Path

from golfdeblur.errors import ConfigError, ImageError
from golfdeblur.files import image
from golfdeblur.files.decode import decode
from golfdeblur.files.encode import encode
from golfdeblur.files.picture import Picture

NAME = Path("The picture")
"""What an error calls it."""


def from_bytes(content: bytes, *, max_pixels: int = image.LARGEST_PIXELS) -> Picture:
    """Read the bytes of an image file. Raises ImageError as `image.read` does."""
    if not content:
        raise ImageError(f"{NAME} is empty (0 bytes); send it again.")
    with image.explained(NAME):
        return decode(NAME, io.BytesIO(content), image.at_most(max_pixels, NAME))


def to_bytes(picture: Picture, kind: str | None = None) -> tuple[bytes, list[str]]:
    """Return `picture` as a file of format `kind`, else of its own, and in words what that could not hold.

    Raises ImageError where it cannot be written.
    """
    file = io.BytesIO()
    try:
        notes = encode(picture, file, kind or image.own_kind(picture))
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # encoders raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{NAME} cannot be written ({reason}); choose another format.") from error
    return file.getvalue(), list(dict.fromkeys((*picture.keep.left_out, *notes)))


def kind_of(format: str) -> str:
    """Return the format that "jpg", ".JPG" or "JPEG" names. Raises ConfigError for one that cannot be written."""
    named = format.lower().removeprefix(".")
    kind = image.SUFFIXES.get(f".{named}", named.upper())
    if kind not in image.SUFFIXES.values() or kind in image.WRITTEN_AS:
        known = sorted(set(image.SUFFIXES.values()) - set(image.WRITTEN_AS))
        raise ConfigError(f"The format '{format}' cannot be written; use {', '.join(known)}.")
    return kind
