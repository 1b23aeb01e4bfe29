"""How a video is stored again: encoder, pixels, and what says how its frames are to be shown (extra `video`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import av

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""The encoder for the input's codec; H.264 for all others; in WebM VP9, and AV1 for more than 8 bits."""

QUALITY = {"libx264": "16", "libx265": "18", "libvpx-vp9": "20", "libsvtav1": "20"}
"""Constant rate factor: what is lost is hardly to be seen."""

TAKES_ODD_SIZES = {"libvpx-vp9", "libsvtav1"}
"""Encoders that store every size with halved colour; the others need full colour for odd ones."""

PARAMETERS = {
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
}
"""The option for an encoder's own parameters, and what it calls HDR10's two."""

TOP_FIRST = {2, 4}
"""FFmpeg's numbers of field orders in which the upper field comes first."""

DISPLAY, LIGHT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"

NOT_KEPT = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+ from frame to frame",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "A53_CC": "captions inside of the pictures",
    "SPHERICAL": "the mark of a view all round",
    "STEREO3D": "the mark of a stereo view",
    "ICC_PROFILE": "the colour profile",
}
"""What comes beside a frame and is not written, by FFmpeg's names."""


@dataclass(frozen=True)
class Coding:
    """How the frames of one video are stored."""

    encoder: str
    pixels: str
    """FFmpeg's name of the format."""
    options: dict[str, str]
    field_order: int | None
    """FFmpeg's number, where frames are woven of two fields; it is None also where the encoder cannot store that."""
    left_out: list[str] = field(default_factory=list)
    """In words that follow "Left out: "."""


def coding(stream: Any, frame: Any, container: str, size: tuple[int, int]) -> Coding:
    """Choose how to store `frame` and those behind it, at `size`, like the input's `stream`."""
    context = stream.codec_context
    encoder = ENCODERS.get(context.codec.canonical_name, "libx264")
    if container == "webm" and encoder != "libsvtav1":
        encoder = "libvpx-vp9"
    if encoder == "libvpx-vp9" and is_deep(context.pix_fmt):  # usual builds of it store 8 bits alone
        encoder = "libsvtav1"
    beside = {side.type.name: bytes(side) for side in frame.side_data}
    left_out = list(dict.fromkeys(words for name, words in NOT_KEPT.items() if name in beside))
    if any(component.is_alpha for component in frame.format.components) or stream.metadata.get("alpha_mode") == "1":
        left_out.append("the transparency")
    order = field_order(frame, context, encoder, size)
    if frame.interlaced_frame and order is None:
        left_out.append("the mark that frames are woven of two fields, which is not written for such a video")
    own = ["log-level=error"] if encoder == "libx265" else []
    if order is not None:
        own.append("tff=1" if order in TOP_FIRST else "bff=1")
    hdr = said_of_light(encoder, beside)
    if hdr is None:
        left_out.append(f"how bright the scene is (HDR10), which {encoder} does not write")
    options = {"crf": QUALITY[encoder]}
    if own := [*own, *(hdr or [])]:
        options[PARAMETERS[encoder][0]] = ":".join(own)
    return Coding(encoder, pixels(context.pix_fmt, encoder, size), options, order, left_out)


def is_deep(pixels: str) -> bool:
    """Tell whether a format of pixels has more than 8 bits."""
    return any(component.bits > 8 for component in av.VideoFormat(pixels).components)


def pixels(wanted: str, encoder: str, size: tuple[int, int]) -> str:
    """Return the format of pixels: the input's where `encoder` can store it at this size."""
    deep = is_deep(wanted)
    known = {found.name for found in av.Codec(encoder, "w").video_formats or []}
    full = "yuv444p10le" if deep else "yuv444p"
    if (size[0] % 2 or size[1] % 2) and encoder not in TAKES_ODD_SIZES:
        return full
    return wanted if wanted in known else "yuv420p10le" if deep else "yuv420p"


def field_order(frame: Any, context: Any, encoder: str, size: tuple[int, int]) -> int | None:
    """Return in which order two fields make the frame, or None for a whole frame and where it cannot be stored."""
    if not frame.interlaced_frame or encoder != "libx264" or frame.rotation or size[0] % 2 or size[1] % 4:
        return None
    order = int(context.field_order)
    return order if order in (2, 3, 4, 5) else 2


def said_of_light(encoder: str, beside: dict[str, bytes]) -> list[str] | None:
    """Return HDR10's data as parameters of `encoder`; None where it has none for them.

    FFmpeg's structures: ten rationals (x and y of red, green, blue, white; the least and the most light) and two flags;
    two unsigned numbers (the brightest pixel and frame).
    """
    if DISPLAY not in beside and LIGHT not in beside:
        return []
    if encoder not in PARAMETERS:
        return None
    _, display, light = PARAMETERS[encoder]
    made = []
    if len(stored := beside.get(DISPLAY, b"")) >= 88:
        numbers = struct.unpack("20i", stored[:80])
        values = [top / bottom if bottom else 0.0 for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
        units = [1.0] * 10 if encoder == "libsvtav1" else [50_000.0] * 8 + [10_000.0] * 2
        said = [
            f"{value * unit:.6g}" if unit == 1 else f"{round(value * unit)}"
            for value, unit in zip(values, units, strict=True)
        ]
        red, green, blue, white = (f"({said[i]},{said[i + 1]})" for i in (0, 2, 4, 6))
        made.append(f"{display}=G{green}B{blue}R{red}WP{white}L({said[9]},{said[8]})")
    if len(stored := beside.get(LIGHT, b"")) >= 8:
        made.append("{}={},{}".format(light, *struct.unpack("2I", stored[:8])))
    return made
