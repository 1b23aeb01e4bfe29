"""Video in, video out, one frame at a time: time stamps, sound, subtitles, rotation and colour kept (extra `video`).

Sound and subtitles are copied as they are. Frames are stored again with the input's codec where it can be written, at
high quality. Rotation marks are applied to the frames. Frames that the file marks as damaged pass unchanged.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from golfdeblur.errors import ConfigError, ImageError, Interrupted
from golfdeblur.files.picture import from_samples

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What can be written, by the end of the file's name."""

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""The encoder for the input's codec; H.264 for all others, VP9 in WebM."""

QUALITY = {"libx264": "16", "libx265": "18", "libvpx-vp9": "20", "libsvtav1": "20"}
"""Constant rate factor: what is lost is hardly to be seen."""

EXACTLY = 4 | 0x2000 | 0x4000 | 0x40000
"""How colour is converted: FFmpeg's bits for bicubic, full chroma on both sides, accurate rounding.

Without full chroma a round trip darkens a frame by two grey levels."""

ITU709, UNSPECIFIED, ITU601, BT2020 = 1, 2, 5, 9
"""FFmpeg's numbers of colour spaces; where none is named, the rows decide, as players do."""


@dataclass(frozen=True)
class Cut:
    """The part of a video to take, in seconds from its beginning; `end` may be None."""

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < (math.inf if self.end is None else self.end):
            raise ConfigError(
                f"From {self.start} s to {'the end' if self.end is None else f'{self.end} s'} is no part of a video; "
                "let the start be 0 or more, and the end lie behind it."
            )


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
        with _opened(source) as given, av.open(str(temporary), "w", format=kind) as made:
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


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Any]:
    if not source.is_file():
        raise ImageError(f"{source} is no file; check the name.")
    try:
        container = av.open(str(source))
    except (av.FFmpegError, OSError) as error:
        raise ImageError(f"{source} is not a video that can be read ({error.strerror}).") from error
    with container:
        if not container.streams.video:
            raise ImageError(f"{source} holds no video; give a video file.")
        context = container.streams.video[0].codec_context
        if context is None or context.format is None:
            raise ImageError(f"{source} is not a video that can be read (its codec is unknown, or it is damaged).")
        yield container


class _Job:
    """One video on its way."""

    def __init__(self, restore: Restore, given: Any, made: Any, cut: Cut, preview: bool) -> None:
        self.restore, self.given, self.made, self.cut, self.preview = restore, given, made, cut, preview
        self.report = Report()
        self.video = given.streams.video[0]
        self.video.thread_type = "AUTO"
        self.out: Any = None  # made with the first frame, whose rotation decides its size
        self.waiting: list[Any] = []  # packets of sound and subtitles until then
        self.reformatter = VideoReformatter()
        self.deep = any(component.bits > 8 for component in self.video.format.components)
        self.means: list[tuple[float, float]] = []
        self.decoded = 0  # frames so far
        self.origin = max(Fraction(given.start_time or 0, av.time_base), Fraction(0))  # a camera's clock may run on
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
        total = self.video.frames or None if self.cut == Cut() else None
        if self.cut.start and not self.given.format.flags & av.format.Flags.no_timestamps.value:
            self._seek()
        try:
            for packet in self.given.demux([self.video, *(self.given.streams[i] for i in self.copies)]):
                if packet.stream is not self.video:
                    self._copy(packet)
                    continue
                for frame in self._decoded(packet):
                    if self._is_inside(frame):
                        self._frame(frame)
                        seen(self.report.frames, total)
                    elif self.cut.end is not None and self._from_start(frame) >= self.cut.end:
                        return self._finish(stopped=False)
        except KeyboardInterrupt:
            return self._finish(stopped=True)
        return self._finish(stopped=False)

    def _seek(self) -> None:
        """Go to where decoding has to begin for the first frame of the cut; MPEG-TS may land behind it at first."""
        place, back = self.origin + Fraction(self.cut.start), 1
        while not self._lands_before_cut(place) and place >= self.origin:
            place, back = place - back, 2 * back
        self.given.seek(int(place * av.time_base))

    def _lands_before_cut(self, place: Fraction) -> bool:
        self.given.seek(int(place * av.time_base))
        with contextlib.suppress(av.FFmpegError):  # a damaged packet is named when its turn comes
            for frame in self.given.decode(self.video):
                return frame.pts is None or self._from_start(frame) <= self.cut.start
        return False

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return [self._timed(frame) for frame in packet.decode()]
        except av.FFmpegError as error:
            when = float(packet.pts * packet.time_base) if packet.pts is not None else float("nan")
            self.report.passed.append(f"the packet at {when:.3f} s, which cannot be decoded ({error.strerror})")
            return []

    def _timed(self, frame: Any) -> Any:
        """Return the frame with a time: raw H.264, for one, has none, and is played at its rate."""
        self.decoded += 1
        if frame.pts is None:
            frame.time_base = self.video.time_base
            frame.pts = round((self.decoded - 1) / (self._rate * frame.time_base))
        return frame

    @property
    def _rate(self) -> Fraction:
        return self.video.average_rate or Fraction(25)

    def _from_start(self, timed: Any) -> float:
        """Return when a frame or packet is due, in seconds from the video's beginning, which need not be at 0."""
        return float(timed.pts * timed.time_base - self.origin)

    def _is_inside(self, timed: Any) -> bool:
        when = self._from_start(timed)
        # Sound begins a little before 0: an encoder's first samples.
        begun = self.cut.start == 0 or when >= self.cut.start - 1e-9
        return begun and (self.cut.end is None or when < self.cut.end)

    def _frame(self, frame: Any) -> None:
        turns = round(frame.rotation / 90) % 4
        pixels = self._rgb(frame)
        if frame.is_corrupt:
            self.report.passed.append(f"the damaged frame at {frame.time:.3f} s")
            restored = pixels
        else:
            restored = self.restore(np.ascontiguousarray(np.rot90(pixels, turns)))
            restored = np.rot90(restored, -turns)
        scale = 257.0 if self.deep else 1.0
        self.means.append((float(pixels.mean()) / scale, float(restored.mean()) / scale))
        both = np.concatenate([pixels, restored], axis=1 if turns % 2 == 0 else 0) if self.preview else restored
        upright = np.ascontiguousarray(np.rot90(both, turns))
        if self.out is None:
            self._start(frame, upright.shape[1], upright.shape[0])
        self.report.frames += 1
        self._encode(self._coded(upright, frame))

    def _start(self, frame: Any, width: int, height: int) -> None:
        """Open the encoder like the input's stream, and let go what has waited for it."""
        name = ENCODERS.get(self.video.codec_context.codec.canonical_name, "libx264")
        if self.made.format.name == "webm" and name not in ("libvpx-vp9", "libsvtav1"):
            name = "libvpx-vp9"
        codec = av.Codec(name, "w")
        formats = [f.name for f in codec.video_formats or []]
        wanted = self.video.codec_context.pix_fmt
        even = "yuv444p10le" if self.deep else "yuv444p"
        plain = "yuv420p10le" if self.deep else "yuv420p"
        odd = width % 2 or height % 2
        chosen = (
            wanted
            if wanted in formats and not (odd and wanted not in ("yuv444p", "yuv444p10le"))
            else even
            if odd
            else plain
        )
        self.out = self.made.add_stream(name, rate=self._rate, options={"crf": QUALITY[name]})
        context = self.out.codec_context
        context.width, context.height, context.pix_fmt = width, height, chosen
        context.time_base = self.out.time_base = self.video.time_base
        if self.video.sample_aspect_ratio and frame.rotation % 180 == 0:
            context.sample_aspect_ratio = self.video.sample_aspect_ratio
        for key in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, key, getattr(self.video.codec_context, key))
        self.out.metadata.update({k: v for k, v in self.video.metadata.items() if k != "rotate"})
        for packet in self.waiting:
            self.made.mux(packet)
        self.waiting.clear()

    def _rgb(self, frame: Any) -> np.ndarray:
        """Return (H, W, 3) of uint8, or uint16 for more than 8 bits."""
        kind = "rgb48le" if self.deep else "rgb24"
        turned = self.reformatter.reformat(
            frame, format=kind, src_colorspace=self._matrix(), src_color_range=self._range(),
            dst_color_range=ColorRange.JPEG, interpolation=EXACTLY,
        )  # fmt: skip
        return turned.to_ndarray()

    def _coded(self, pixels: np.ndarray, frame: Any) -> Any:
        """Return the pixels as a frame for the encoder, with the input's time."""
        made = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if self.deep else "rgb24")
        made = self.reformatter.reformat(
            made, format=self.out.codec_context.pix_fmt, dst_colorspace=self._matrix(), src_color_range=ColorRange.JPEG,
            dst_color_range=self._range(), interpolation=EXACTLY,
        )  # fmt: skip
        made.pts = frame.pts - self._offset(self.video.time_base)
        made.time_base = self.video.time_base
        return made

    def _matrix(self) -> int:
        named = int(self.video.codec_context.colorspace)
        if named != UNSPECIFIED:
            return {6: ITU601, 10: BT2020}.get(named, named)
        return ITU709 if self.video.codec_context.height >= 720 else ITU601

    def _range(self) -> int:
        full = (
            int(self.video.codec_context.color_range) == ColorRange.JPEG or "yuvj" in self.video.codec_context.pix_fmt
        )
        return int(ColorRange.JPEG if full else ColorRange.MPEG)

    def _offset(self, time_base: Fraction) -> int:
        return round((self.origin + Fraction(self.cut.start)) / time_base)

    def _encode(self, frame: Any) -> None:
        for packet in self.out.encode(frame):
            self.made.mux(packet)

    def _copy(self, packet: Any) -> None:
        """Copy a packet of sound or subtitles, if it lies inside the cut."""
        if packet.dts is None or not self._is_inside(packet):
            return
        offset = self._offset(packet.time_base)
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
