"""Video in, video out, one frame at a time: time stamps, sound, subtitles, rotation and colour kept (extra `video`).

Sound and subtitles are copied as they are. Frames are stored again with the input's codec where it can be written, at
high quality. Rotation marks are applied to the frames. Frames that the file marks as damaged pass unchanged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from golfdeblur.errors import ImageError, Interrupted
from golfdeblur.files.picture import from_samples
from golfdeblur.footage import EXACTLY, Cut, Footage, opened

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What can be written, by the end of the file's name."""

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""The encoder for the input's codec; H.264 for all others, VP9 in WebM."""

QUALITY = {"libx264": "16", "libx265": "18", "libvpx-vp9": "20", "libsvtav1": "20"}
"""Constant rate factor: what is lost is hardly to be seen."""


@dataclass
class Report:
    """What became of a video."""

    frames: int = 0
    passed: list[str] = field(default_factory=list)
    """Damaged frames that passed unchanged, and packets that could not be decoded, with their times."""
    jitter: tuple[float, float] = (0.0, 0.0)
    """Mean change of the mean brightness from one frame to the next, in grey levels: of the input and of the result."""


Restore = Callable[[np.ndarray], np.ndarray]
"""From (H, W, 3) uint8 or uint16 to the same."""


def default_output(clip: Path) -> Path:
    """Return where the result for `clip` goes: beside it, in its own container if that can be written."""
    return clip.with_name(f"{clip.stem}-deblurred{clip.suffix if clip.suffix.lower() in CONTAINERS else '.mp4'}")


def deblur_video(
    restore: Restore,
    source: Path,
    target: Path,
    *,
    cut: Cut,
    preview: bool = False,
    seen: Callable[[int, int | None], None],
) -> Report:
    """Write `target`, every frame of `source` restored; with `preview` the input beside the result.

    `seen` is called after each frame with its number and the number of all, None if unknown. After Ctrl-C what is done
    stays as NAME-partial.SUFFIX, which plays. Raises ImageError for a file that is no video or cannot be written.
    """
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise ImageError(f"{target} ends in '{target.suffix}'; write {', '.join(CONTAINERS)}.")
    if target.resolve() == source.resolve():
        raise ImageError(f"{source} would be replaced by its own result; give another name.")
    if not target.parent.is_dir():
        raise ImageError(f"The folder {target.parent} does not exist; make it first.")
    temporary = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        with opened(source) as given, av.open(str(temporary), "w", format=kind) as made:
            job = _Job(restore, given, made, cut, preview)
            stopped = job.run(seen)
        if stopped:
            partial = target.with_name(f"{target.stem}-partial{target.suffix}")
            os.replace(temporary, partial)
            raise Interrupted(f"Stopped; the {job.report.frames} frames that are done are in {partial}.")
        os.replace(temporary, target)
    except av.FFmpegError as error:
        raise ImageError(
            f"{source} cannot be turned into {target} ({error.strerror}); try another container."
        ) from error
    except OSError as error:
        raise ImageError(f"{target} cannot be written ({error.strerror}); choose another place.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return job.report


class _Job:
    """One video on its way."""

    def __init__(self, restore: Restore, given: Any, made: Any, cut: Cut, preview: bool) -> None:
        self.restore, self.given, self.made, self.preview = restore, given, made, preview
        self.report = Report()
        self.footage = Footage(given, cut, self.report.passed)
        self.out: Any = None  # made with the first frame, whose rotation decides its size
        self.waiting: list[Any] = []  # packets of sound and subtitles until then
        self.reformatter = VideoReformatter()
        self.means: list[tuple[float, float]] = []
        made.metadata.update(given.metadata)
        with contextlib.suppress(NotImplementedError, ValueError, av.FFmpegError):
            made.set_chapters(given.chapters())
        self.copies = {stream.index: made.add_stream_from_template(stream) for stream in self._copied()}

    def _copied(self) -> list[Any]:
        """The streams that are copied: sound and subtitles that the container can hold."""
        copied = []
        for stream in [s for s in self.given.streams if s.type in ("audio", "subtitle")]:
            context = stream.codec_context
            if context is None:  # a phone's newest format, which FFmpeg does not know
                self.report.passed.append(f"stream {stream.index} ({stream.type}), whose codec is unknown")
            elif {context.name, context.codec.canonical_name}.isdisjoint(self.made.supported_codecs):
                self.report.passed.append(f"stream {stream.index} ({context.name}), which this container cannot hold")
            else:
                copied.append(stream)
        return copied

    def run(self, seen: Callable[[int, int | None], None]) -> bool:
        """Do every frame; return whether Ctrl-C ended it."""
        footage, video, cut = self.footage, self.footage.stream, self.footage.cut
        total = video.frames or None if cut == Cut() else None
        if cut.start and not self.given.format.flags & av.format.Flags.no_timestamps.value:
            footage.seek()
        try:
            for packet in self.given.demux([video, *(self.given.streams[i] for i in self.copies)]):
                if packet.stream is not video:
                    self._copy(packet)
                    continue
                for frame in footage.frames(packet):
                    if footage.is_inside(frame):
                        self._frame(frame)
                        seen(self.report.frames, total)
                    elif cut.end is not None and footage.from_start(frame) >= cut.end:
                        return self._finish(stopped=False)
        except KeyboardInterrupt:
            return self._finish(stopped=True)
        return self._finish(stopped=False)

    def _frame(self, frame: Any) -> None:
        turns = round(frame.rotation / 90) % 4
        pixels = self.footage.rgb(frame)
        if frame.is_corrupt:
            self.report.passed.append(f"the damaged frame at {frame.time:.3f} s")
            restored = pixels
        else:
            restored = self.restore(np.ascontiguousarray(np.rot90(pixels, turns)))
            restored = np.rot90(restored, -turns)
        scale = 257.0 if self.footage.deep else 1.0
        self.means.append((float(pixels.mean()) / scale, float(restored.mean()) / scale))
        both = np.concatenate([pixels, restored], axis=1 if turns % 2 == 0 else 0) if self.preview else restored
        upright = np.ascontiguousarray(np.rot90(both, turns))
        if self.out is None:
            self._start(frame, upright.shape[1], upright.shape[0])
        self.report.frames += 1
        self._encode(self._coded(upright, frame))

    def _start(self, frame: Any, width: int, height: int) -> None:
        """Open the encoder like the input's stream, and let go what has waited for it."""
        name = ENCODERS.get(self.footage.stream.codec_context.codec.canonical_name, "libx264")
        if self.made.format.name == "webm" and name not in ("libvpx-vp9", "libsvtav1"):
            name = "libvpx-vp9"
        codec = av.Codec(name, "w")
        formats = [f.name for f in codec.video_formats or []]
        wanted = self.footage.stream.codec_context.pix_fmt
        even = "yuv444p10le" if self.footage.deep else "yuv444p"
        plain = "yuv420p10le" if self.footage.deep else "yuv420p"
        odd = width % 2 or height % 2
        chosen = (
            wanted
            if wanted in formats and not (odd and wanted not in ("yuv444p", "yuv444p10le"))
            else even
            if odd
            else plain
        )
        self.out = self.made.add_stream(name, rate=self.footage.rate, options={"crf": QUALITY[name]})
        context = self.out.codec_context
        context.width, context.height, context.pix_fmt = width, height, chosen
        context.time_base = self.out.time_base = self.footage.stream.time_base
        if self.footage.stream.sample_aspect_ratio and frame.rotation % 180 == 0:
            context.sample_aspect_ratio = self.footage.stream.sample_aspect_ratio
        for key in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, key, getattr(self.footage.stream.codec_context, key))
        self.out.metadata.update({k: v for k, v in self.footage.stream.metadata.items() if k != "rotate"})
        for packet in self.waiting:
            self.made.mux(packet)
        self.waiting.clear()

    def _coded(self, pixels: np.ndarray, frame: Any) -> Any:
        """Return the pixels as a frame for the encoder, with the input's time."""
        made = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if self.footage.deep else "rgb24")
        made = self.reformatter.reformat(
            made, format=self.out.codec_context.pix_fmt, dst_colorspace=self.footage.matrix(),
            src_color_range=ColorRange.JPEG, dst_color_range=self.footage.range(), interpolation=EXACTLY,
        )  # fmt: skip
        made.pts = frame.pts - self.footage.offset(self.footage.stream.time_base)
        made.time_base = self.footage.stream.time_base
        return made

    def _encode(self, frame: Any) -> None:
        for packet in self.out.encode(frame):
            self.made.mux(packet)

    def _copy(self, packet: Any) -> None:
        """Copy a packet of sound or subtitles, if it lies inside the cut."""
        if packet.dts is None or not self.footage.is_inside(packet):
            return
        offset = self.footage.offset(packet.time_base)
        packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        packet.stream = self.copies[packet.stream.index]
        if self.out is None:
            self.waiting.append(packet)
        else:
            self.made.mux(packet)

    def _finish(self, *, stopped: bool) -> bool:
        if self.out is None:
            if stopped:
                raise Interrupted("Stopped before the first frame was done; nothing is written.")
            raise ImageError(f"{self.given.name} holds no frames there; check --start and --end.")
        self._encode(None)
        if len(self.means) > 1:
            before, after = np.abs(np.diff(np.array(self.means), axis=0)).mean(axis=0)
            self.report.jitter = (float(before), float(after))
        return stopped


def restorer(run: Callable[[Any], Any]) -> Restore:
    """Return the function on arrays of `run`, which takes and returns a Picture."""
    return lambda pixels: run(from_samples(pixels)).samples()
