"""What a file says beside its pixels: collected from an opened image, and fitted to what the output can hold.

What cannot be read or does not fit is left out and named; it never stops a picture.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, JpegImagePlugin

from golfdeblur.files import chunks, exif, profiles

APPENDED = (b"Container:Directory", b"MicroVideo", b"ns.adobe.com/hdr-gain-map")
"""In the XMP of a phone's moving or HDR photo: more than one picture lies in the file, and only the first is kept."""

XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
"""How segments of a JPEG begin that hold more of the XMP, and captions as the press writes them (IPTC)."""

IPTC_TAG, PHOTOSHOP_TAG = 33723, 34377
IPTC_RESOURCE = b"8BIM\x04\x04\0\0"

SAYING_HOW_BRIGHT = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class Keepsakes:
    """What a file says beside its pixels, to be written back."""

    format: str | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    """Captions, keywords, ratings."""
    xmp_extension: tuple[bytes, ...] = ()
    """What did not fit into the first segment of a JPEG, as segments."""
    iptc: bytes | None = None
    """Photoshop's resources, captions among them."""
    comment: bytes | None = None
    texts: tuple[chunks.Chunk, ...] = ()
    """Texts of a PNG as its chunks."""
    colours: tuple[chunks.Chunk, ...] = ()
    """How a PNG describes its colours where that is no ICC profile, as its chunks."""
    icc_profile: bytes | None = None
    """Made from `colours` or the like where the file holds none."""
    dpi: tuple[float, float] | None = None
    quantisation: dict[int, list[int]] | None = None
    """The JPEG quantisation tables of the input: 0 for grey or brightness, 1 for colour."""
    subsampling: int | str | None = None
    lossless: bool = False
    """A WebP without loss."""
    pictures: int = 1
    """How many the file holds; all but the first are left out."""
    left_out: tuple[str, ...] = ()
    """What could not be read or kept, in words that follow "Left out: "."""
    sha256: str | None = None
    """Of the file's bytes as they were read."""


def collect(picture: Image.Image) -> tuple[Keepsakes, int]:
    """Return what an opened image says beside its pixels, upright, and the EXIF orientation that it has."""
    notes: list[str] = []
    info = picture.info
    content, turned = _exif(picture, notes)
    xmp, orientation = _xmp(info.get("xmp"), notes)
    many = getattr(picture, "n_frames", 1)
    if picture.format == "MPO":
        notes.append("the preview or map of brightness behind the photo")
    if info.get("aux"):
        notes.append("the map of brightness (HDR) beside the photo")
    if isinstance(bits := info.get("bit_depth"), int) and bits > 8:
        notes.append(f"the lowest of its {bits} bits a channel")
    return Keepsakes(
        format="JPEG" if picture.format == "MPO" else picture.format,
        exif=content,
        xmp=xmp,
        xmp_extension=_segments(picture, "APP1", XMP_EXTENSION) if xmp else (),
        iptc=_iptc(picture),
        comment=info["comment"] if isinstance(info.get("comment"), bytes) and info["comment"] else None,
        icc_profile=_profile(info, notes),
        dpi=_dpi(info.get("dpi")),
        quantisation=_quantisation(picture),
        subsampling=_subsampling(picture),
        # Phones' MPO files hold a preview or a map of brightness behind the photo.
        pictures=1 if picture.format == "MPO" else many,
        left_out=tuple(notes),
    ), turned or orientation or 1


def _exif(picture: Image.Image, notes: list[str]) -> tuple[bytes | None, int | None]:
    stored = picture.info.get("exif")
    if isinstance(stored, bytes) and picture.format != "TIFF":
        mended = exif.mend(stored)
        content, orientation, dropped = mended.content, mended.orientation, mended.dropped
    else:
        try:
            tags = picture.getexif()
            content, dropped = exif.of_tags(tags)
            orientation = tags.get(exif.ORIENTATION_TAG)
        except Exception:  # whatever Pillow makes of odd values
            content, orientation, dropped = None, None, 1
    if dropped:
        notes.append("the EXIF (damaged)" if content is None else f"damaged entries of the EXIF ({dropped})")
    return content, orientation if orientation in range(1, 9) else None


def _xmp(stored: Any, notes: list[str]) -> tuple[bytes | None, int | None]:
    """Return the XMP with the orientation reset, and what that was; None where it describes more pictures."""
    stored = stored.encode() if isinstance(stored, str) else stored
    if not isinstance(stored, bytes) or not stored:
        return None, None
    found = re.search(rb'tiff:Orientation(?:="|>)\s*([1-8])', stored)
    orientation = int(found[1]) if found else None
    if any(word in stored for word in APPENDED):
        notes.append("the XMP, which describes a map of brightness (HDR) or a clip behind the photo, and that")
        return None, orientation
    return re.sub(rb'(tiff:Orientation(?:="|>)\s*)[2-8]', rb"\g<1>1", stored), orientation


def _segments(picture: Image.Image, marker: str, begin: bytes) -> tuple[bytes, ...]:
    applied = getattr(picture, "applist", [])
    return tuple(data for name, data in applied if name == marker and data.startswith(begin))


def _iptc(picture: Image.Image) -> bytes | None:
    """Return Photoshop's resources of a JPEG or TIFF."""
    tags: Any = getattr(picture, "tag_v2", {})
    try:
        if isinstance(resources := tags.get(PHOTOSHOP_TAG), bytes):
            return resources
        if (captions := tags.get(IPTC_TAG)) is not None:
            data = captions if isinstance(captions, bytes) else struct.pack(f"<{len(captions)}I", *captions)
            return IPTC_RESOURCE + b"\0\0" + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)
    except Exception:  # whatever Pillow makes of odd values
        return None
    parts = [data.removeprefix(PHOTOSHOP) for data in _segments(picture, "APP13", PHOTOSHOP)]
    return b"".join(parts) or None


def _profile(info: dict[Any, Any], notes: list[str]) -> bytes | None:
    stored = info.get("icc_profile")
    if isinstance(stored, bytes) and stored:
        if stored[36:40] == b"acsp":
            return stored
        notes.append("the colour profile (damaged)")
    numbers = info.get("nclx_profile")
    if not isinstance(numbers, dict):
        return None
    return of_numbers(numbers.get("color_primaries", 2), numbers.get("transfer_characteristics", 2), notes)


def of_numbers(primaries: int, transfer: int, notes: list[str]) -> bytes | None:
    """Return the colour profile for numbers of H.273, and note what none can say."""
    if transfer in SAYING_HOW_BRIGHT:
        notes.append(f"how bright the picture is ({SAYING_HOW_BRIGHT[transfer]}): its colours may look pale")
    return profiles.of_numbers(primaries, transfer)


def nclx(file: Any) -> dict[str, int] | None:
    """Return the numbers of the first colour box of an open HEIF or AVIF file, as pillow_heif names them."""
    file.seek(0)
    found = re.search(rb"colrnclx(..)(..)", file.read(2**16), re.DOTALL)
    if found is None:
        return None
    primaries, transfer = (int.from_bytes(found[i], "big") for i in (1, 2))
    return {"color_primaries": primaries, "transfer_characteristics": transfer}


def _quantisation(picture: Image.Image) -> dict[int, list[int]] | None:
    """Return the tables of a JPEG's brightness and colours, of those of two colours the finer, entry by entry."""
    tables, layers = getattr(picture, "quantization", {}), getattr(picture, "layer", [])
    used = [tables[layer[3]] for layer in layers if layer[3] in tables]
    if not used or len(used) != len(layers):
        return None
    if len(used) == 1:
        return {0: list(used[0])}
    return {0: list(used[0]), 1: [min(values) for values in zip(*used[1:3], strict=True)]}


def _dpi(stored: Any) -> tuple[float, float] | None:
    try:
        across, down = float(stored[0]), float(stored[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def _subsampling(picture: Image.Image) -> int | None:
    if picture.format not in ("JPEG", "MPO"):
        return None
    sampling = JpegImagePlugin.get_sampling(picture)
    return sampling if sampling >= 0 else None


def of_png(keep: Keepsakes, orientation: int, found: chunks.Split, *, grey: bool) -> tuple[Keepsakes, int]:
    """Add to what Pillow says of a PNG what its chunks say."""
    notes = [*keep.left_out, *found.left_out]
    xmp, turned = _xmp(found.xmp, notes)
    content = None
    if found.exif is not None:
        mended = exif.mend(found.exif)
        content, turned = mended.content, mended.orientation or turned
        if mended.dropped:
            notes.append("the EXIF (damaged)" if content is None else f"damaged entries of the EXIF ({mended.dropped})")
    colours = tuple((name, data) for name, data in found.colours.items() if name != b"iCCP")
    profile = _png_profile(found.colours, notes, grey=grey)
    keep = replace(
        keep, format="PNG", exif=content, xmp=xmp, texts=tuple(found.texts), icc_profile=profile, dpi=found.dpi,
        colours=() if b"iCCP" in found.colours and profile else colours, left_out=tuple(notes),
    )  # fmt: skip
    return keep, turned or orientation


def _png_profile(colours: dict[bytes, bytes], notes: list[str], *, grey: bool) -> bytes | None:
    """Return the ICC profile of a PNG, or one that says what its other chunks say; None for sRGB."""
    if (numbers := colours.get(b"cICP")) is not None and len(numbers) == 4:
        return of_numbers(numbers[0], numbers[1], notes)
    if (stored := colours.get(b"iCCP")) is not None:
        profile = chunks.inflated(stored.partition(b"\0")[2][1:], 2**25)
        if profile is not None and profile[36:40] == b"acsp":
            return profile
        notes.append("the colour profile (damaged)")
    gamma, points = colours.get(b"gAMA", b""), colours.get(b"cHRM", b"")
    if b"sRGB" in colours or len(gamma) != 4 or gamma == bytes(4):
        return None
    exponent = 100_000 / int.from_bytes(gamma, "big")
    primaries = profiles.SRGB
    if len(points) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", points)]
        primaries = (*zip(values[2::2], values[3::2], strict=True), (values[0], values[1]))
    usual = abs(exponent - 2.2) < 0.02
    if usual and all(
        abs(a - b) < 0.002 for p, q in zip(primaries, profiles.SRGB, strict=True) for a, b in zip(p, q, strict=True)
    ):
        return None
    try:
        return profiles.profile(primaries, profiles.SRGB_CURVE if usual else (exponent,), grey=grey)
    except (ValueError, struct.error):  # what no light can be
        return None
