"""A picture as the bytes of a file. Pillow writes everything but TIFF and 16-bit colour (deep.py)."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from golfdeblur.files import chunks, deep, exif, fitting
from golfdeblur.files.metadata import Keepsakes
from golfdeblur.files.picture import Layout, Picture, to_pil

JPEG_QUALITY = 95

LARGEST_OPTIMISED = 50_000_000
"""Pixels of a JPEG up to which its codes are chosen to suit it: libjpeg keeps the whole picture for that."""

OPAQUE = {"JPEG", "PPM"}
"""Formats without alpha."""


class _WithoutNumber:
    """An open file whose number Pillow does not see: it would take a short write, on a full disk, for a whole one."""

    def __init__(self, file: Any) -> None:
        self.write, self.seek, self.tell = file.write, file.seek, file.tell
        self.flush, self.truncate = file.flush, file.truncate


def encode(picture: Picture, file: Any, kind: str) -> list[str]:
    """Write `picture` to an open file in format `kind`, and return in words what that cannot hold."""
    file = _WithoutNumber(file)
    keep, notes = fitting.fitted(picture.keep, kind)
    if kind == "TIFF":
        return notes + deep.write_tiff(picture, keep, file)
    if kind == "PNG":
        for part in chunks.joined(_png(picture), _png_chunks(keep)):
            file.write(part)
        return notes
    if picture.bits == 16:
        picture = picture.in_8_bits()
        notes.append("the lower 8 of its 16 bits a channel")
    out = to_pil(picture)
    if kind in OPAQUE and picture.alpha is not None:
        if (picture.alpha != np.iinfo(picture.alpha.dtype).max).any():
            notes.append("the transparency")
        out = out.convert(picture.layout)
    if kind == "BMP" and out.mode == "LA":
        out = out.convert("RGBA")
    out.info.clear()  # what Pillow would take from there is given below
    if kind == "JPEG":
        _write_jpeg(out, file, keep, picture.layout)
    elif kind == "JPEG2000":  # its encoder tries for ever where a write fails
        buffer = io.BytesIO()
        out.save(buffer, kind, **_options(keep, kind))
        file.write(buffer.getbuffer())
    else:
        out.save(file, kind, **_options(keep, kind))
    return notes


def _options(keep: Keepsakes, kind: str) -> dict[str, Any]:
    """Return what Pillow takes beside a picture, for all but JPEG."""
    options: dict[str, Any] = {}
    if kind in ("WEBP", "AVIF"):
        beside = {"exif": keep.exif, "xmp": keep.xmp, "icc_profile": keep.icc_profile}
        options = {name: value for name, value in beside.items() if value}
    if kind == "WEBP":
        return {**options, "quality": JPEG_QUALITY, "method": 4, "lossless": keep.lossless, "exact": keep.lossless}
    if kind == "AVIF":
        return {**options, "quality": 90, "subsampling": "4:4:4"}
    if kind == "BMP" and keep.dpi:
        return {"dpi": keep.dpi}
    return {"compression": "tga_rle"} if kind == "TGA" else {}


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    if picture.bits == 16 and (picture.layout == "RGB" or picture.alpha is not None):
        deep.write_png16(picture, buffer)
    else:
        out = to_pil(picture)
        out.info.clear()
        out.save(buffer, "PNG")
    return buffer.getvalue()


def _png_chunks(keep: Keepsakes) -> list[chunks.Chunk]:
    """Return what is said beside the pixels; colours as the input said them, not also as the profile made of that."""
    made = list(keep.colours)
    if keep.icc_profile and not keep.colours:
        made.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(keep.icc_profile)))
    if keep.dpi:
        made.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in keep.dpi), 1)))
    if keep.exif:
        made.append((b"eXIf", keep.exif.removeprefix(exif.HEADER)))
    if keep.xmp:
        made.append((b"iTXt", chunks.XMP + bytes(5) + keep.xmp))
    if keep.comment:
        made.append((b"tEXt", b"Comment\0" + keep.comment.replace(b"\0", b"")))
    return made + list(keep.texts)


def _write_jpeg(out: Image.Image, file: Any, keep: Keepsakes, layout: Layout) -> None:
    options = _jpeg_options(keep, layout)
    # At finer steps noise takes more than the 2 bytes a pixel that Pillow makes room for.
    coarse = sum(options["qtables"][0]) / 64 > 3
    options["optimize"] = coarse and out.width * out.height <= LARGEST_OPTIMISED
    try:
        out.save(file, "JPEG", **options)
    except OSError as error:
        if error.errno is not None or not options["optimize"]:
            raise
        file.seek(0)
        file.truncate()
        out.save(file, "JPEG", **{**options, "optimize": False})


def _jpeg_options(keep: Keepsakes, layout: Layout) -> dict[str, Any]:
    """Take the input's quantisation tables and subsampling; ours where it is no JPEG."""
    tables = {**_tables(JPEG_QUALITY), **(keep.quantisation or {})}
    options = {
        "qtables": [[min(255, step) for step in tables[i]] for i in range(1 if layout == "L" else 2)],
        "subsampling": keep.subsampling if keep.subsampling is not None else 0,
        "exif": keep.exif and exif.HEADER + keep.exif.removeprefix(exif.HEADER),
        "xmp": keep.xmp,
        "icc_profile": keep.icc_profile,
        "comment": keep.comment,
        "dpi": keep.dpi,
        "extra": fitting.jpeg_segments(keep),
    }
    return {name: value for name, value in options.items() if value is not None and value != b""}


def _tables(quality: int) -> dict[int, list[int]]:
    """Return the quantisation tables that the encoder uses for `quality`."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    return dict(Image.open(buffer).quantization)  # type: ignore[attr-defined]
