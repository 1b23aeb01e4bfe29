"""PNG files by their chunks: what decoders need apart from what must survive, so that no caption stops a picture.

PNG specification, third edition (W3C, 2025), section 11.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

SIGNATURE = b"\x89PNG\r\n\x1a\n"

DECODED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
COLOURS = {b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI"}

XMP = b"XML:com.adobe.xmp"
RAW_EXIF = b"Raw profile type exif"
"""Where programs put EXIF before there was a chunk for it, in hexadecimal digits."""

LONGEST_TEXT = 2**20
"""Characters of a text after its decompression; common readers refuse a file with more."""

OF_THESE_PIXELS = {b"bKGD", b"hIST", b"sPLT", b"tIME"}
"""Left out without a word: what describes how the pixels of the input were stored or shown."""

SIGNIFICANT_BITS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Bytes of the chunk sBIT, by the colour type."""

Chunk = tuple[bytes, bytes]
"""A chunk's name and content."""


@dataclass
class Split:
    """A PNG file taken apart."""

    pixels: bytes
    """A PNG with nothing but pixels."""
    texts: list[Chunk] = field(default_factory=list)
    colours: dict[bytes, bytes] = field(default_factory=dict)
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    left_out: list[str] = field(default_factory=list)


def split(content: bytes) -> Split:
    """Take a PNG file apart. A file that is cut short stays so in `pixels`; `texts` are what may be copied."""
    found = Split(b"")
    pixels, place = [content[:8]], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, end = content[place + 4 : place + 8], place + 12 + length
        if end > len(content):
            break
        data = content[place + 8 : end - 4]
        if name in DECODED:
            pixels.append(content[place:end])
        elif zlib.crc32(name + data) != struct.unpack_from(">I", content, end - 4)[0]:
            found.left_out.append(f"the chunk {name.decode('latin-1')} (damaged)")
        else:
            _sort(name, data, found, header=content[16:29])
        place = end
        if name == b"IEND":
            break
    else:
        place = len(content)
    found.pixels = b"".join([*pixels, content[place:] if place < len(content) and pixels[-1][4:8] != b"IEND" else b""])
    return found


def _sort(name: bytes, data: bytes, found: Split, *, header: bytes) -> None:
    if name in COLOURS:
        found.colours[name] = data
    elif name == b"eXIf":
        found.exif = data
    elif name == b"pHYs" and len(data) == 9:
        across, down, unit = struct.unpack(">IIB", data)
        found.dpi = (across * 0.0254, down * 0.0254) if unit == 1 and across and down else None
    elif name in TEXTS:
        keyword = data.partition(b"\0")[0]
        text = _text(name, data)
        if text is None:
            found.left_out.append(f"the text '{keyword[:79].decode('latin-1')}' (damaged, or longer than a megabyte)")
        elif keyword == XMP:
            found.xmp = text
        elif keyword == RAW_EXIF and found.exif is None:
            found.exif = _from_hexadecimal(text)
        else:
            found.texts.append((name, data))
    elif name == b"sBIT":
        depth = 8 if header[9] == 3 else header[8]
        if len(data) != SIGNIFICANT_BITS.get(header[9]) or not all(1 <= bits <= depth for bits in data):
            found.left_out.append("how many bits of a sample count (the chunk sBIT, damaged)")
    elif name[3] & 32:  # safe to copy, by its name
        found.texts.append((name, data))
    elif name not in OF_THESE_PIXELS:
        found.left_out.append(f"the chunk {name.decode('latin-1')}, which may not fit to other pixels")


def _text(name: bytes, data: bytes) -> bytes | None:
    """Return the text of a chunk, or None where it is damaged or too long."""
    keyword, nul, rest = data.partition(b"\0")
    if not nul or not 1 <= len(keyword) <= 79:
        return None
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return inflated(rest[1:], LONGEST_TEXT) if rest[:1] == b"\0" else None
    parts = rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return None
    return inflated(parts[2], LONGEST_TEXT) if rest[:1] == b"\1" else parts[2]


def inflated(data: bytes, most: int) -> bytes | None:
    """Return what was deflated, or None where it is damaged or more than `most` bytes."""
    try:
        machine = zlib.decompressobj()
        made = machine.decompress(data, most + 1)
    except zlib.error:
        return None
    return made if machine.eof and len(made) <= most else None


def _from_hexadecimal(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except (ValueError, IndexError):
        return None


def joined(pixels: bytes, extra: list[Chunk]) -> list[bytes]:
    """Return the parts of the PNG `pixels` with more chunks behind its header."""
    made = [pixels[:33]]
    for name, data in extra:
        made += [struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(name + data))]
    return [*made, memoryview(pixels)[33:]]  # type: ignore[list-item]
