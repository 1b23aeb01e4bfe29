"""The bytes of a file as a picture. Pillow reads everything but 16-bit colour (deep.py)."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from golfdeblur.errors import ImageError
from golfdeblur.files import chunks, deep, metadata
from golfdeblur.files.picture import Picture, from_opened, from_samples, turn

_OPENING = threading.Lock()


def decode(path: Path, file: Any, check_size: Callable[[tuple[int, int]], None]) -> Picture:
    """Return the upright picture in an open file; `path` is for its name alone. Raises whatever decoders raise."""
    head = file.read(64)
    file.seek(0)
    if head[:8] == chunks.SIGNATURE:
        return _read_png(file.read(), of_16_bits=deep.is_png16(head), check_size=check_size)
    page, pictures = 0, None
    if deep.is_tiff(head):
        if (found := deep.read_tiff16(file, check_size)) is not None:
            return found
        page, pictures = deep.main_page(file)
    with _open(file, check_size, _formats(path, head)) as opened:
        opened.seek(page)
        check_size(opened.size)
        opened.load()
        keep, orientation = metadata.collect(opened)
        keep = _more(replace(keep, pictures=pictures or keep.pictures), file, opened)
        return from_opened(opened, keep, orientation)


def _more(keep: metadata.Keepsakes, file: Any, opened: Image.Image) -> metadata.Keepsakes:
    """Add what Pillow does not tell: whether a WebP is without loss, which colours an AVIF has."""
    if opened.format == "WEBP":
        return replace(keep, lossless=_is_lossless(file))
    if opened.format == "AVIF" and keep.icc_profile is None and (numbers := metadata.nclx(file)) is not None:
        notes = list(keep.left_out)
        profile = metadata.of_numbers(numbers["color_primaries"], numbers["transfer_characteristics"], notes)
        return replace(keep, icc_profile=profile, left_out=tuple(notes))
    if opened.mode == "RGBX":
        return replace(keep, left_out=(*keep.left_out, "the extra channel, whose meaning it does not say"))
    return keep


def _is_lossless(file: Any) -> bool:
    """Tell whether the first picture of a WebP is stored without loss."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        file.seek(16 if name == b"ANMF" else size + size % 2, 1)
    return False


def _read_png(content: bytes, *, of_16_bits: bool, check_size: Callable[[tuple[int, int]], None]) -> Picture:
    found = chunks.split(content)
    with _open(io.BytesIO(found.pixels), check_size, ["PNG"]) as opened:
        grey = opened.mode in ("1", "L", "LA", "I", "I;16")
        if not of_16_bits:
            opened.load()
        keep, orientation = metadata.of_png(*metadata.collect(opened), found, grey=grey)
        if not of_16_bits:
            return from_opened(opened, keep, orientation)
    return from_samples(turn(deep.png16_samples(found.pixels), orientation), keep)


def _formats(path: Path, head: bytes) -> list[str] | None:
    """Return which of Pillow's readers to ask, where the first bytes say it; teach it HEIF where they are of one.

    Raises ImageError without the extra for HEIF.
    """
    if head[4:8] != b"ftyp":
        return None
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 64)]
    if b"avif" in brands or b"avis" in brands:
        return ["AVIF"]
    if not any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")):
        return None
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(f"{path} is HEIC; pip install 'golfdeblur[heic]', or save it as JPEG.") from error
    pillow_heif.register_heif_opener()
    return ["HEIF"]


def _open(file: Any, check_size: Callable[[tuple[int, int]], None], formats: list[str] | None) -> Image.Image:
    """Open an image with our limit of its size in place of Pillow's, which warns at a third and refuses at twice."""
    with _OPENING:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            opened = Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = theirs
    check_size(opened.size)
    return opened
