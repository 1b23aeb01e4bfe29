"""EXIF as bytes: the turn it asks for is read and reset, and what is damaged is cut out; all else stays to the byte.

Nothing moves, so that the offsets that makers hide in their notes stay true (TIFF 6.0, section 2; Exif 2.32, 4.5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

HEADER = b"Exif\0\0"
ORIENTATION_TAG, EXIF_TAG, GPS_TAG, INTEROP_TAG = 0x0112, 0x8769, 0x8825, 0xA005
POINTERS = {EXIF_TAG, GPS_TAG, INTEROP_TAG}
SHORT, LONG = 3, 4

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
"""Bytes of a value, by the number of its type."""

DESCRIPTIVE_TAGS = (269, 270, 271, 272, ORIENTATION_TAG, 285, 305, 306, 315, 316, 33432, EXIF_TAG, GPS_TAG)
"""What is kept of a TIFF's tags: names, dates, EXIF and GPS. The others describe how its pixels are stored."""


@dataclass(frozen=True)
class Mended:
    """EXIF that can be read."""

    content: bytes | None
    orientation: int | None
    """1 to 8, or None where it does not say."""
    dropped: int
    """Entries that could not be read; all of them where there is no content."""


def mend(stored: bytes) -> Mended:
    """Return EXIF without its damaged entries, upright."""
    body = bytearray(stored.removeprefix(HEADER))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(body[:4]))
    if order is None or len(body) < 10:
        return Mended(None, None, 1)
    mender = _Mender(body, order)
    first = mender.number("I", 4)
    if not mender.directory(first, of=None):
        return Mended(None, None, 1)
    header = HEADER if stored.startswith(HEADER) else b""
    return Mended(header + bytes(body), mender.orientation, mender.dropped)


class _Mender:
    """The directories of EXIF, mended one after another."""

    def __init__(self, body: bytearray, order: str) -> None:
        self.body, self.order = body, order
        self.orientation: int | None = None
        self.dropped = 0
        self.seen: set[int] = set()

    def number(self, kind: str, place: int) -> int:
        """Return the number at a place."""
        return struct.unpack_from(self.order + kind, self.body, place)[0]

    def directory(self, start: int, *, of: int | None) -> bool:
        """Mend the directory at `start`, `of` a pointer or None for the first; return whether there is one."""
        if start in self.seen or not 8 <= start <= len(self.body) - 6:
            return False
        self.seen.add(start)
        count = self.number("H", start)
        inside = min(count, (len(self.body) - start - 2) // 12)
        places = range(start + 2, start + 2 + 12 * inside, 12)
        kept = [bytes(self.body[place : place + 12]) for place in places if self._is_whole(place, of)]
        if count and not kept:
            return False
        follows = start + 2 + 12 * count
        after = self.number("I", follows) if follows + 4 <= len(self.body) else 0
        if after and (of is not None or not self.directory(after, of=0)):
            after = 0
        self.dropped += count - len(kept)
        content = b"".join(kept) + struct.pack(self.order + "I", after)
        if count != len(kept) or self._needs(start, content):
            struct.pack_into(self.order + "H", self.body, start, len(kept))
            self.body[start + 2 : start + 2 + len(content)] = content
        return True

    def _needs(self, start: int, content: bytes) -> bool:
        """Tell whether a whole directory differs; one that ends its file without the last 4 bytes may stay so."""
        return len(self.body) >= start + 2 + len(content) and not self.body.startswith(content, start + 2)

    def _is_whole(self, place: int, of: int | None) -> bool:
        tag, kind, count = struct.unpack_from(self.order + "HHI", self.body, place)
        if kind not in SIZES:
            return False
        size = SIZES[kind] * count
        if size > 4 and not 8 <= self.number("I", place + 8) <= len(self.body) - size:
            return False
        if tag in POINTERS and of in (None, EXIF_TAG):
            return kind in (LONG, 13) and count == 1 and self.directory(self.number("I", place + 8), of=tag)
        if tag == ORIENTATION_TAG and of is None:
            return self._reset(place, kind, count)
        return True

    def _reset(self, place: int, kind: int, count: int) -> bool:
        letter = {SHORT: "H", LONG: "I"}.get(kind)
        if letter is None or count != 1 or not 1 <= self.number(letter, place + 8) <= 8:
            return False
        self.orientation = self.number(letter, place + 8)
        struct.pack_into(self.order + letter, self.body, place + 8, 1)
        return True


def within(stored: bytes, limit: int) -> tuple[bytes | None, list[str]]:
    """Return EXIF of at most `limit` bytes, and the names of what had to go: the largest entries first."""
    if len(stored) <= limit:
        return stored, []
    gone: list[str] = []
    try:
        exif = Image.Exif()
        exif.load(stored)
        inner = exif.get_ifd(EXIF_TAG)
        for place in (inner, exif):
            for tag in sorted(place, key=lambda tag: -_length(place[tag])):
                if _length(place[tag]) < 1000:
                    break
                del place[tag]
                gone.append(ExifTags.TAGS.get(tag, f"tag {tag}"))
                if len(made := exif.tobytes()) <= limit:
                    return made, gone
    except Exception:  # whatever Pillow makes of odd values
        return None, []
    return None, []


def _length(value: Any) -> int:
    return len(value) if isinstance(value, bytes | str | tuple) else 0


def of_tags(exif: Image.Exif) -> tuple[bytes | None, int]:
    """Return the descriptive tags of a TIFF as EXIF, upright, and how many could not be read."""
    copy, dropped = Image.Exif(), 0
    for tag in DESCRIPTIVE_TAGS:
        try:
            if tag not in exif:
                continue
            if tag in (EXIF_TAG, GPS_TAG):
                copy.get_ifd(tag).update(exif.get_ifd(tag))
            else:
                copy[tag] = 1 if tag == ORIENTATION_TAG else exif[tag]
            copy.tobytes()
        except Exception:  # whatever Pillow makes of odd values
            copy._ifds.pop(tag, None)
            copy.pop(tag, None)
            dropped += 1
    return (copy.tobytes() if len(copy) or copy._ifds else None), dropped
