"""TIFF files, and PNG files of 16 bits per channel, which Pillow would reduce to 8: by tifffile and pypng."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import png
from PIL import Image, TiffImagePlugin

from golfdeblur.errors import ImageError
from golfdeblur.files import chunks, exif
from golfdeblur.files.metadata import PHOTOSHOP_TAG, Keepsakes, collect
from golfdeblur.files.picture import Picture, from_samples, turn

ROWS_PER_STRIP = 64

XMP_TAG = 700

ASSOCIATED, UNASSOCIATED = 1, 2
"""What an extra channel of a TIFF is: colour is multiplied by alpha, or is not; 0 says nothing."""

REDUCED = 1
"""The bit of a TIFF page's kind that says: a thumbnail."""


def is_tiff(head: bytes) -> bool:
    """Tell from its first bytes whether a file is a TIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_png16(head: bytes) -> bool:
    """Tell from its first 26 bytes whether a file is a PNG with 16 bits per channel."""
    # IHDR: bit depth at byte 24, colour type at 25 (0 grey, 2 RGB, 4 grey and alpha, 6 RGBA).
    return head[:8] == chunks.SIGNATURE and len(head) > 25 and head[24] == 16


def png16_samples(content: bytes) -> np.ndarray:
    """Return (H, W, C) uint16 of a PNG with 16 bits per channel; a transparent colour makes alpha."""
    width, height, rows, info = png.Reader(bytes=content).read()
    samples = np.empty((height, width, info["planes"]), np.uint16)
    for index, row in enumerate(rows):
        samples[index] = np.frombuffer(row, np.uint16).reshape(width, -1)
    key = info.get("transparent")
    if key is None:
        return samples
    alpha = np.where((samples == np.asarray(key)).all(axis=2, keepdims=True), 0, 65535).astype(np.uint16)
    return np.concatenate([samples, alpha], axis=2)


def main_page(file: Any) -> tuple[int, int]:
    """Return which page of a TIFF is the picture, the first that is no thumbnail, and how many pictures there are.

    Raises OSError and others.
    """
    file.seek(0)
    opened = Image.open(file)
    sizes, pictures = {}, []
    for index in range(getattr(opened, "n_frames", 1)):
        opened.seek(index)
        sizes[index] = opened.width * opened.height
        if not int(getattr(opened, "tag_v2", {}).get(254, 0)) & REDUCED:
            pictures.append(index)
    return (pictures or [max(sizes, key=lambda index: sizes[index])])[0], max(len(pictures), 1)


def read_tiff16(given: Any, check_size: Any) -> Picture | None:
    """Return a TIFF with 16 bits per channel, or None for one that Pillow reads without loss.

    `check_size` is called with (width, height) before it is decoded. Raises ImageError for floats and other depths.
    """
    import tifffile  # takes time to import

    try:
        with tifffile.TiffFile(given) as file:
            pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
            whole = [page for page in pages if not page.subfiletype & REDUCED]
            page = (whole or pages)[0]
            check_size((page.imagewidth, page.imagelength))
            if page.dtype is not None and page.dtype not in (np.uint8, np.uint16, np.bool_):
                raise ImageError(f"It is a TIFF of {page.dtype}, which has no fixed range; save it with 8 or 16 bits.")
            if page.dtype != np.uint16:
                return None
            if page.photometric not in (0, 1, 2):
                raise ImageError(f"It is a 16-bit TIFF in {page.photometric.name}; save it as RGB or greyscale.")
            samples, notes = _with_alpha(_samples(page), page)
            tags = page.tags
            orientation = tags["Orientation"].value if "Orientation" in tags else 1
            profile = tags["InterColorProfile"].value if "InterColorProfile" in tags else None
            pictures = max(len(whole), 1)
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    except (KeyError, ValueError) as error:
        if "imagecodecs" in str(error):
            raise ImageError(
                "It is a 16-bit TIFF compressed in a way that needs imagecodecs; "
                "pip install 'golfdeblur[tiff]' or save it uncompressed."
            ) from error
        raise
    keep = Keepsakes(pictures=pictures)
    with contextlib.suppress(Exception):  # it knows no grey with alpha
        given.seek(0)
        keep, _ = collect(Image.open(given))
    keep = replace(keep, format="TIFF", pictures=pictures, left_out=(*keep.left_out, *notes))
    if profile is not None:
        keep = replace(keep, icc_profile=bytes(profile))
    return from_samples(turn(samples, int(orientation) if orientation in range(1, 9) else 1), keep)


def _samples(page: Any) -> np.ndarray:
    """Return a page as (H, W, C) uint16, white as the largest value."""
    samples = page.asarray()
    if samples.ndim == 2:
        samples = samples[:, :, None]
    elif page.planarconfig == 2:
        samples = samples.transpose(1, 2, 0)
    return 65535 - samples if page.photometric == 0 else samples


def _with_alpha(samples: np.ndarray, page: Any) -> tuple[np.ndarray, list[str]]:
    """Return colour and alpha, not multiplied by each other, of all the channels, and what was left out."""
    channels = 3 if page.photometric == 2 else 1
    kinds = [int(kind) for kind in page.extrasamples]
    colour, extra = samples[:, :, :channels], [kind for kind in kinds if kind in (ASSOCIATED, UNASSOCIATED)]
    notes = ["the extra channels, whose meaning it does not say"] if 0 in kinds else []
    if not extra:
        return np.ascontiguousarray(colour), notes
    index = channels + kinds.index(extra[0])
    alpha = samples[:, :, index : index + 1]
    if extra[0] == ASSOCIATED:
        whole = np.maximum(alpha, 1).astype(np.uint32)
        divided = (colour.astype(np.uint32) * 65535 + whole // 2) // whole
        colour = np.where(alpha > 0, np.minimum(divided, 65535), colour).astype(np.uint16)
    return np.concatenate([colour, alpha], axis=2), notes


def write_tiff(picture: Picture, keep: Keepsakes, file: Any) -> list[str]:
    """Write the pixels in deflated strips, then Pillow's directory of tags with EXIF inside; return what was left out.

    Pillow itself leaves 8-bit TIFF to libtiff, which refuses EXIF.
    """
    samples = picture.samples()
    bits = 8 * samples.dtype.itemsize
    samples = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    strips = [
        zlib.compress(np.ascontiguousarray(samples[top : top + ROWS_PER_STRIP]).tobytes(), 6)
        for top in range(0, height, ROWS_PER_STRIP)
    ]
    sizes = [len(strip) for strip in strips]
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags[256], tags[257], tags[258], tags[259] = width, height, (bits,) * channels, 8
    tags[262] = 1 if picture.layout == "L" else 2
    # Offsets count from the end of the directory: Pillow adds where that is.
    offsets = tuple(itertools.accumulate(sizes[:-1], initial=0))
    tags[273], tags[277], tags[278], tags[279] = offsets, channels, ROWS_PER_STRIP, tuple(sizes)
    if picture.alpha is not None:
        tags[338] = UNASSOCIATED
    if keep.dpi:
        tags[282], tags[283], tags[296] = *keep.dpi, 2
    for tag, content in ((34675, keep.icc_profile), (XMP_TAG, keep.xmp), (PHOTOSHOP_TAG, keep.iptc)):
        if content:
            tags.tagtype[tag], tags[tag] = 7, content
    dropped = _copy_exif(keep.exif, tags) if keep.exif else 0
    file.write(b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8))
    for strip in strips:
        file.write(strip)
    return [f"damaged entries of the EXIF ({dropped})"] if dropped else []


def _copy_exif(stored: bytes, tags: Any) -> int:
    """Copy the descriptive tags of EXIF, and return how many entries cannot be written."""
    source, dropped = Image.Exif(), 0
    source.load(stored)
    for tag in exif.DESCRIPTIVE_TAGS:
        try:
            if tag not in source:
                continue
            if tag not in (exif.EXIF_TAG, exif.GPS_TAG):
                _check(tag, source[tag])
                tags[tag] = source[tag]
                continue
            inner = {}
            for name, value in dict(source.get_ifd(tag)).items():
                try:
                    _check(tag, {name: value})
                    inner[name] = value
                except Exception:  # whatever Pillow makes of odd values
                    dropped += 1
            tags[tag] = inner
        except Exception:
            dropped += 1
    return dropped


def _check(tag: int, value: Any) -> None:
    """Raise something where Pillow cannot write a tag."""
    probe = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    probe[tag] = value
    probe.tobytes(8)


def write_png16(picture: Picture, file: io.BytesIO) -> None:
    """Write 16-bit colour as a PNG of nothing but pixels."""
    width, height = picture.size
    writer = png.Writer(
        width, height, greyscale=picture.layout == "L", alpha=picture.alpha is not None, bitdepth=16, compression=6
    )
    writer.write_packed(file, (row.astype(">u2").tobytes() for row in picture.samples()))
