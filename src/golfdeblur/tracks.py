"""What a video's file holds beside frames: sound, subtitles, tags; copied or named as left out (extra `video`)."""

from __future__ import annotations

import contextlib
from typing import Any

import av

OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "rotate", "vendor_id"}
"""Tags that describe how the input was stored."""

COUNTED = ("DURATION", "BPS", "NUMBER_OF_", "_STATISTICS")
"""How tags begin that Matroska's writers count."""

PLAIN = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "description",
    "creation_time", "location", "location-eng", "language", "keywords", "synopsis", "show", "lyrics", "grouping",
}  # fmt: skip
"""Tags for which MP4 has places of their own; others need its list of named tags."""


def kept_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags that are also true of the result."""
    return {name: text for name, text in tags.items() if name not in OF_THE_FILE and not name.startswith(COUNTED)}


def container_options(given: Any, kind: str) -> dict[str, str]:
    """Return what the container `kind` must be told so that it holds every tag of the file."""
    more = set(kept_tags(given.metadata)) - PLAIN
    return {"movflags": "use_metadata_tags"} if kind in ("mp4", "mov") and more else {}


def describe(out: Any, given: Any) -> None:
    """Give a new stream the tags and marks of the input's: language, title, which of several is played."""
    out.metadata.update(kept_tags(given.metadata))
    out.disposition = given.disposition


def main_video(container: Any) -> Any:
    """Return the stream of frames: the first that is no cover picture."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & av.stream.Disposition.attached_pic), streams[0])


def sorted_out(given: Any, made: Any) -> tuple[list[Any], list[str]]:
    """Return the streams that are copied, and in words those that are left out.

    Sound and subtitles are copied where the container can hold them, fonts and the like in Matroska.
    """
    copied, left_out = [], []
    for stream in given.streams:
        if (reason := _why_not(stream, given, made)) is None:
            copied.append(stream)
        elif reason:
            left_out.append(f"stream {stream.index} ({reason}")
    return copied, left_out


def _why_not(stream: Any, given: Any, made: Any) -> str | None:
    """Return why a stream is not copied, "" for the frames' own, None where it is."""
    if stream.type == "video":
        return "" if stream is main_video(given) else "video), a cover picture or a second view"
    if stream.type == "attachment" and made.format.name == "matroska":
        return None
    if stream.type not in ("audio", "subtitle"):
        name = stream.metadata.get("handler_name") or stream.type
        return f"{stream.type}), {name.strip()}"
    context = stream.codec_context
    if context is None:  # a phone's newest format, which FFmpeg does not know
        return f"{stream.type}), whose codec is unknown"
    if {context.name, context.codec.canonical_name}.isdisjoint(made.supported_codecs):
        return f"{context.name}), which this container cannot hold"
    return None


def add(stream: Any, made: Any) -> Any:
    """Add to `made` a stream that holds the packets of `stream`, and return it; None where there are none to come."""
    if stream.type == "attachment":
        made.add_attachment(stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data)
        return None
    out = made.add_stream_from_template(stream)
    describe(out, stream)
    return out


def keep_chapters(given: Any, made: Any) -> list[str]:
    """Copy the chapters, and return in words what could not be."""
    with contextlib.suppress(NotImplementedError, ValueError, av.FFmpegError):
        if chapters := given.chapters():
            made.set_chapters(chapters)
            return [] if made.format.name in ("mp4", "mov", "matroska", "webm") else ["the chapters"]
        return []
    return ["the chapters"]
