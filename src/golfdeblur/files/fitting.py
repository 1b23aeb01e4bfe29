"""What each kind of file can hold beside its pixels; the rest is left out and named."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from golfdeblur.files import exif
from golfdeblur.files.metadata import PHOTOSHOP, Keepsakes

LARGEST_SEGMENT = 65_533
LARGEST_JPEG_XMP = 65_504
"""Bytes that fit into one segment of a JPEG, and what is left of them beside the name of XMP."""

HOLDING = {
    "exif": {"JPEG", "PNG", "TIFF", "WEBP", "AVIF"},
    "xmp": {"JPEG", "PNG", "TIFF", "WEBP", "AVIF"},
    "xmp_extension": {"JPEG"},
    "iptc": {"JPEG", "TIFF"},
    "comment": {"JPEG", "PNG"},
    "texts": {"PNG"},
    "icc_profile": {"JPEG", "PNG", "TIFF", "WEBP", "AVIF"},
}
"""The formats that can hold it, as they are written here."""

CALLED = {
    "exif": "the EXIF",
    "xmp": "the XMP",
    "xmp_extension": "a part of the XMP",
    "iptc": "the captions (IPTC)",
    "comment": "the comment",
    "texts": "the texts",
    "icc_profile": "the colour profile",
}


def fitted(keep: Keepsakes, kind: str) -> tuple[Keepsakes, list[str]]:
    """Return what a file of format `kind` can hold, and in words what it cannot."""
    notes = []
    for name, kinds in HOLDING.items():
        if getattr(keep, name) and kind not in kinds:
            notes.append(f"{CALLED[name]}, which a file of this kind does not hold")
            nothing: Any = {name: () if isinstance(getattr(keep, name), tuple) else None}
            keep = replace(keep, **nothing)
    return _fitted_to_jpeg(keep, notes) if kind == "JPEG" else (keep, notes)


def _fitted_to_jpeg(keep: Keepsakes, notes: list[str]) -> tuple[Keepsakes, list[str]]:
    if keep.exif and len(keep.exif) + len(exif.HEADER) > LARGEST_SEGMENT:
        content, gone = exif.within(keep.exif, LARGEST_SEGMENT - len(exif.HEADER))
        notes.append(f"{', '.join(gone) + ' of ' if content else ''}the EXIF, too long for a JPEG")
        keep = replace(keep, exif=content)
    if keep.xmp and len(keep.xmp) > LARGEST_JPEG_XMP:
        notes.append("the XMP, too long for a JPEG")
        keep = replace(keep, xmp=None, xmp_extension=())
    if keep.comment and len(keep.comment) > LARGEST_SEGMENT:
        notes.append("the comment, too long for a JPEG")
        keep = replace(keep, comment=None)
    if keep.icc_profile and len(keep.icc_profile) > 255 * (LARGEST_SEGMENT - 14):
        notes.append("the colour profile, too long for a JPEG")
        keep = replace(keep, icc_profile=None)
    return keep, notes


def jpeg_segments(keep: Keepsakes) -> bytes:
    """Return the segments of a JPEG that Pillow does not write itself: more XMP, and captions."""
    made = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in keep.xmp_extension)
    rest, room = keep.iptc or b"", LARGEST_SEGMENT - len(PHOTOSHOP)
    for place in range(0, len(rest), room):
        part = PHOTOSHOP + rest[place : place + room]
        made += b"\xff\xed" + struct.pack(">H", 2 + len(part)) + part
    return made
