"""Video in, video out, one frame at a time: time stamps, sound, subtitles, rotation and colour kept (extra `video`).

Sound, subtitles and tags are copied as they are (tracks.py). Frames are stored again with the input's codec where it
can be written, at high quality (coding.py). Rotation marks are applied to the frames. Frames that the file marks as
damaged pass unchanged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from golfdeblur import tracks
from golfdeblur.coding import Coding, coding
from golfdeblur.errors import GolfError, ImageError, Interrupted
from golfdeblur.files.names import beside
from golfdeblur.files.picture import from_samples
from golfdeblur.footage import EXACTLY, Cut, Footage, opened

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What can be written, by the end of the file's name."""


@dataclass
class Report:
    """What became of a video."""

    frames: int = 0
    left_out: list[str] = field(default_factory=list)
    """What of the file is not kept, in words that follow "Left out: "."""
    passed: list[str] = field(default_factory=list)
    """Damaged frames that passed unchanged, and packets that could not be decoded, with their times."""
    jitter: tuple[float, float] = (0.0, 0.0)
    """Mean change of the mean brightness from one frame to the next, in grey levels: of the input and of the result."""


Restore = Callable[[np.ndarray], np.ndarray]
"""From (H, W, 3) uint8 or uint16 to the same."""


def default_output(clip: Path) -> Path:
    """Return where the result for `clip` goes: beside it, in its own container if that can be written."""
    return beside(clip, "-deblurred", clip.suffix if clip.suffix.lower() in CONTAINERS else ".mp4")


def deblur_video(
    restore: Restore,
    source: Path,
    target: Path,
    *,
    cut: Cut,
    preview: bool = False,
    seen: Callable[[int, int | None], None],
    told: Callable[[list[str]], None] = lambda left_out: None,
) -> Report:
    """Write `target`, every frame of `source` restored; with `preview` the input beside the result.

    `told` is called before the first frame is restored with what is left out; `seen` after each frame with its number
    and the number of all, None if unknown. After Ctrl-C, and where the size of the frames changes, what is done stays
    as NAME-partial.SUFFIX, which plays. Raises ImageError for a file that is no video or cannot be written.
    """
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise ImageError(f"{target} ends in '{target.suffix}'; write {', '.join(CONTAINERS)}.")
    if target.resolve() == source.resolve():
        raise ImageError(f"{source} would be replaced by its own result; give another name.")
    if not target.parent.is_dir():
        raise ImageError(f"The folder {target.parent} does not exist; make it first.")
    temporary = beside(target, ".part", hidden=True)
    try:
        with opened(source) as given, _writing(temporary, kind, tracks.container_options(given, kind)) as made:
            job = _Job(restore, given, made, cut, preview)
            job.run(seen, told)
        if job.ended_by is not None:
            partial = beside(target, "-partial")
            os.replace(temporary, partial)
            raise type(job.ended_by)(f"{job.ended_by} The {job.report.frames} frames that are done are in {partial}.")
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


class _Resized(Exception):  # noqa: N818 (what happened)
    """The frames change their size."""


@contextlib.contextmanager
def _writing(path: Path, kind: str, options: dict[str, str]) -> Iterator[Any]:
    """Open a new video file; without the protocol, FFmpeg takes a colon in a name for the end of one."""
    with av.open(f"file:{path}", "w", format=kind, container_options=options) as made:
        yield made


class _Job:
    """One video on its way."""

    def __init__(self, restore: Restore, given: Any, made: Any, cut: Cut, preview: bool) -> None:
        self.restore, self.given, self.made, self.preview = restore, given, made, preview
        self.report = Report()
        self.footage = Footage(given, tracks.main_video(given), cut, self.report.passed)
        self.coding: Coding
        self.out: Any = None  # made with the first frame, whose rotation decides its size
        self.copied, self.report.left_out = tracks.sorted_out(given, made)
        self.copies: dict[int, Any] = {}  # made together with it, so that the order stays
        self.waiting: list[Any] = []  # packets of sound and subtitles until then
        self.reformatter = VideoReformatter()
        self.means: list[tuple[float, float]] = []
        self.ended_by: GolfError | None = None
        made.metadata.update(tracks.kept_tags(given.metadata))
        self.report.left_out += tracks.keep_chapters(given, made)

    def run(self, seen: Callable[[int, int | None], None], told: Callable[[list[str]], None]) -> None:
        """Do every frame; `ended_by` says then why it is not the whole video."""
        video, cut = self.footage.stream, self.footage.cut
        total = video.frames or None if cut == Cut() else None
        if cut.start and not self.given.format.flags & av.format.Flags.no_timestamps.value:
            self.footage.seek()
        try:
            for frame in self._frames():
                if self.out is None:
                    self._start(frame)
                    told(self.report.left_out)
                self._frame(frame)
                seen(self.report.frames, total)
        except KeyboardInterrupt:
            self.ended_by = Interrupted("Stopped.")
        except _Resized as error:
            self.ended_by = ImageError(str(error))
        self._finish()

    def _frames(self) -> Iterator[Any]:
        """Yield the frames inside of the cut, and copy what else comes."""
        footage, video, end = self.footage, self.footage.stream, self.footage.cut.end
        for packet in self.given.demux([video, *(s for s in self.copied if s.type != "attachment")]):
            if packet.stream is not video:
                self._copy(packet)
                continue
            for frame in footage.frames(packet):
                if footage.is_inside(frame):
                    yield frame
                elif end is not None and footage.from_start(frame) >= end:
                    return

    def _frame(self, frame: Any) -> None:
        turns = round(frame.rotation / 90) % 4
        if (frame.width, frame.height, turns) != self.shape:
            when = f"{self.footage.from_start(frame):.3f}"
            raise _Resized(
                f"{self.given.name.removeprefix('file:')} changes its size at {when} s, which one video cannot; "
                f"deblur the rest by --start {when}."
            )
        pixels = self.footage.rgb(frame)
        if frame.is_corrupt:
            self.report.passed.append(f"the damaged frame at {frame.time:.3f} s")
            restored = pixels
        else:
            restored = np.rot90(self._restored(np.rot90(pixels, turns), woven=bool(frame.interlaced_frame)), -turns)
        scale = 257.0 if self.footage.deep else 1.0
        self.means.append((float(pixels.mean()) / scale, float(restored.mean()) / scale))
        both = np.concatenate([pixels, restored], axis=1 if turns % 2 == 0 else 0) if self.preview else restored
        self.report.frames += 1
        self._encode(self._coded(np.ascontiguousarray(np.rot90(both, turns)), frame))

    def _restored(self, pixels: np.ndarray, *, woven: bool) -> np.ndarray:
        """Restore a frame; of one that is woven of two fields, taken at different times, each by itself."""
        if not woven:
            return self.restore(np.ascontiguousarray(pixels))
        made = np.empty_like(pixels)
        for first in (0, 1):
            made[first::2] = self.restore(np.ascontiguousarray(pixels[first::2]))
        return made

    def _start(self, frame: Any) -> None:
        """Open the encoder like the input's stream, all streams in the input's order, and let go what has waited."""
        given, turns = self.footage.stream, round(frame.rotation / 90) % 4
        self.shape = frame.width, frame.height, turns
        width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        size = (2 * width, height) if self.preview else (width, height)
        self.coding = coding(given, frame, self.made.format.name, size)
        self.report.left_out += self.coding.left_out
        for stream in self.given.streams:
            if stream is given:
                self._open(size, turned=turns % 2 == 1)
            elif stream in self.copied:
                self.copies[stream.index] = tracks.add(stream, self.made)
        for packet in self.waiting:
            self._mux_copy(packet)
        self.waiting.clear()

    def _open(self, size: tuple[int, int], *, turned: bool) -> None:
        given = self.footage.stream
        self.out = self.made.add_stream(self.coding.encoder, rate=self.footage.rate, options=self.coding.options)
        context = self.out.codec_context
        (context.width, context.height), context.pix_fmt = size, self.coding.pixels
        context.time_base = self.out.time_base = given.time_base
        if given.sample_aspect_ratio and not turned:
            context.sample_aspect_ratio = given.sample_aspect_ratio
        for key in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, key, getattr(given.codec_context, key))
        if self.coding.field_order is not None:
            context.field_order = self.coding.field_order
        if self.coding.encoder == "libx265" and self.made.format.name in ("mp4", "mov"):
            context.codec_tag = "hev1" if given.codec_context.codec_tag == "hev1" else "hvc1"  # Apple plays hvc1 only
        tracks.describe(self.out, given)

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
        if self.out is None:
            self.waiting.append(packet)
        else:
            self._mux_copy(packet)

    def _mux_copy(self, packet: Any) -> None:
        packet.stream = self.copies[packet.stream.index]
        self.made.mux(packet)

    def _finish(self) -> None:
        if not self.report.frames:
            if self.ended_by is not None:
                raise Interrupted("Stopped before the first frame was done; nothing is written.")
            raise ImageError(f"{self.given.name.removeprefix('file:')} holds no frames there; check --start and --end.")
        self._encode(None)
        if len(self.means) > 1:
            before, after = np.abs(np.diff(np.array(self.means), axis=0)).mean(axis=0)
            self.report.jitter = (float(before), float(after))


def restorer(run: Callable[[Any], Any]) -> Restore:
    """Return the function on arrays of `run`, which takes and returns a Picture."""
    return lambda pixels: run(from_samples(pixels)).samples()
