"""PNG and TIFF files with 16 bits per channel, which Pillow would reduce to 8: read with pypng and tifffile."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import png
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from golfdeblur.errors import ImageError
from golfdeblur.files.picture import (
    DESCRIPTIVE_TAGS,
    EXIF_TAG,
    GPS_TAG,
    ORIENTATION_TAG,
    Keepsakes,
    Picture,
    from_samples,
    keepsakes,
    turn,
)

ROWS_PER_STRIP = 64

XMP_TAG, PNG_XMP = 700, "XML:com.adobe.xmp"
"""Where XMP is in TIFF and PNG."""

LARGEST_PIXELS = 178_000_000
"""A picture of more pixels than this is refused before it is decoded; just under Pillow's own limit."""


def check_size(size: tuple[int, int]) -> None:
    """Raise Pillow's DecompressionBombError for a width and height of more than LARGEST_PIXELS together."""
    width, height = size
    if width * height > LARGEST_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height} = {width * height:,}")


def is_png16(head: bytes) -> bool:
    """Tell from its first 26 bytes whether a file is a PNG with 16 bits per channel."""
    # IHDR: bit depth at byte 24, colour type at 25 (0 grey, 2 RGB, 4 grey and alpha, 6 RGBA).
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) > 25 and head[24] == 16


def read_png16(path: Path) -> Picture:
    """Read a PNG with 16 bits per channel, turned upright."""
    with Image.open(path) as opened:  # for size, EXIF and profile only
        check_size(opened.size)
        keep = keepsakes(opened)
        orientation = opened.getexif().get(ORIENTATION_TAG, 1)
    width, height, rows, info = png.Reader(filename=str(path)).read()
    samples = np.empty((height, width, info["planes"]), np.uint16)
    for index, row in enumerate(rows):
        samples[index] = np.frombuffer(row, np.uint16).reshape(width, -1)
    return from_samples(turn(samples, orientation), keep)


def read_tiff16(path: Path) -> Picture | None:
    """Return a TIFF with 16 bits per channel, or None for one that Pillow reads without loss."""
    import tifffile  # takes time to import

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if not isinstance(page, tifffile.TiffPage) or page.dtype != np.uint16:
                return None
            if page.photometric not in (0, 1, 2):
                raise ImageError(f"{path} is a 16-bit TIFF in {page.photometric.name}; save it as RGB or greyscale.")
            check_size((page.imagewidth, page.imagelength))
            samples = page.asarray()
            orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
            profile = page.tags["InterColorProfile"].value if "InterColorProfile" in page.tags else None
            planar, inverted = page.planarconfig == 2, page.photometric == 0
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    except (KeyError, ValueError) as error:
        if "imagecodecs" in str(error):
            raise ImageError(
                f"{path} is a 16-bit TIFF compressed in a way that needs imagecodecs; "
                "pip install 'golfdeblur[tiff]' or save it uncompressed."
            ) from error
        raise
    if planar and samples.ndim == 3:
        samples = samples.transpose(1, 2, 0)
    samples = 65535 - samples if inverted else samples
    if samples.ndim == 3:
        samples = samples[:, :, :4]
    keep = Keepsakes(format="TIFF")
    with contextlib.suppress(UnidentifiedImageError), Image.open(path) as opened:  # it knows no grey with alpha
        keep = replace(keepsakes(opened), format="TIFF")
    if profile is not None:
        keep = replace(keep, icc_profile=bytes(profile))
    return from_samples(turn(np.ascontiguousarray(samples), int(orientation)), keep)


def write_tiff16(picture: Picture, file: Any) -> None:
    """Write 16 bits per channel: the pixels in deflated strips, then Pillow's directory of tags with EXIF inside."""
    samples = picture.samples().astype("<u2")
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    strips = [
        zlib.compress(np.ascontiguousarray(samples[top : top + ROWS_PER_STRIP]).tobytes(), 6)
        for top in range(0, height, ROWS_PER_STRIP)
    ]
    sizes = [len(strip) for strip in strips]
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags[256], tags[257], tags[258], tags[259] = width, height, (16,) * channels, 8
    tags[262] = 1 if picture.layout == "L" else 2
    # Offsets count from the end of the directory: Pillow adds where that is.
    offsets = tuple(itertools.accumulate(sizes[:-1], initial=0))
    tags[273], tags[277], tags[278], tags[279] = offsets, channels, ROWS_PER_STRIP, tuple(sizes)
    if picture.alpha is not None:
        tags[338] = 2  # unassociated alpha
    keep = picture.keep
    if keep.dpi:
        tags[282], tags[283], tags[296] = *keep.dpi, 2
    if keep.icc_profile:
        tags[34675] = keep.icc_profile
    if keep.exif:
        _copy_exif(keep.exif, tags)
    if keep.xmp:
        tags[XMP_TAG] = keep.xmp
    file.write(b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8))
    file.writelines(strips)


def _copy_exif(stored: bytes, tags: Any) -> None:
    exif = Image.Exif()
    exif.load(stored)
    for tag, value in exif.items():
        if tag in DESCRIPTIVE_TAGS:
            tags[tag] = exif.get_ifd(tag) if tag in (EXIF_TAG, GPS_TAG) else value


def write_png16(picture: Picture, file: Any) -> None:
    """Write 16-bit colour, with profile and EXIF in the chunks that pypng does not write."""
    samples = picture.samples()
    width, height = picture.size
    writer = png.Writer(
        width, height, greyscale=picture.layout == "L", alpha=picture.alpha is not None, bitdepth=16, compression=6
    )
    buffer = io.BytesIO()
    writer.write_packed(buffer, (row.astype(">u2").tobytes() for row in samples))
    chunks = list(png.Reader(bytes=buffer.getvalue()).chunks())
    extra = []
    if picture.keep.icc_profile:
        extra.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.keep.icc_profile)))
    if picture.keep.exif:
        extra.append((b"eXIf", picture.keep.exif.removeprefix(b"Exif\0\0")))
    if picture.keep.xmp:
        extra.append((b"iTXt", PNG_XMP.encode() + bytes(5) + picture.keep.xmp))
    png.write_chunks(file, [chunks[0], *extra, *chunks[1:]])
