"""A video as it comes in: frames in RGB with their times, inside of a cut (extra `video`)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from golfdeblur.errors import ConfigError, ImageError
from golfdeblur.files.image import check_local

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


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Any]:
    """Open the file `source`. Raises ImageError where it is no video that can be read."""
    check_local(source)
    if not source.is_file():
        raise ImageError(f"{source} is no file; check the name.")
    try:
        container = av.open(f"file:{source}", metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise ImageError(f"{source} is not a video that can be read ({error.strerror}).") from error
    with container:
        if not container.streams.video:
            raise ImageError(f"{source} holds no video; give a video file.")
        context = container.streams.video[0].codec_context
        if context is None or context.format is None:
            raise ImageError(f"{source} is not a video that can be read (its codec is unknown, or it is damaged).")
        yield container


class Footage:
    """The frames of an open container, and what of them was passed over."""

    def __init__(self, container: Any, stream: Any, cut: Cut, passed: list[str]) -> None:
        self.container, self.stream, self.cut, self.passed = container, stream, cut, passed
        self.stream.thread_type = "AUTO"
        self.reformatter = VideoReformatter()
        self.deep = any(component.bits > 8 for component in self.stream.format.components)
        self.decoded = 0  # frames so far
        self.origin = max(Fraction(container.start_time or 0, av.time_base), Fraction(0))  # a camera's clock may run on

    def seek(self) -> None:
        """Go to where decoding has to begin for the first frame of the cut; MPEG-TS may land behind it at first."""
        place, back = self.origin + Fraction(self.cut.start), 1
        while not self._lands_before_cut(place) and place >= self.origin:
            place, back = place - back, 2 * back
        self.container.seek(int(place * av.time_base))

    def _lands_before_cut(self, place: Fraction) -> bool:
        self.container.seek(int(place * av.time_base))
        with contextlib.suppress(av.FFmpegError):  # a damaged packet is named when its turn comes
            for frame in self.container.decode(self.stream):
                return frame.pts is None or self.from_start(frame) <= self.cut.start
        return False

    def frames(self, packet: Any) -> list[Any]:
        """Return the frames of a packet with their times; one that cannot be decoded is named in `passed`."""
        try:
            return [self._timed(frame) for frame in packet.decode()]
        except av.FFmpegError as error:
            when = float(packet.pts * packet.time_base) if packet.pts is not None else float("nan")
            self.passed.append(f"the packet at {when:.3f} s, which cannot be decoded ({error.strerror})")
            return []

    def _timed(self, frame: Any) -> Any:
        """Return the frame with a time: raw H.264, for one, has none, and is played at its rate."""
        self.decoded += 1
        if frame.pts is None:
            frame.time_base = self.stream.time_base
            frame.pts = round((self.decoded - 1) / (self.rate * frame.time_base))
        return frame

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return self.stream.average_rate or Fraction(25)

    def from_start(self, timed: Any) -> float:
        """Return when a frame or packet is due, in seconds from the video's beginning, which need not be at 0."""
        return float(timed.pts * timed.time_base - self.origin)

    def is_inside(self, timed: Any) -> bool:
        """Tell whether a frame or packet lies inside the cut."""
        when = self.from_start(timed)
        # Sound begins a little before 0: an encoder's first samples.
        begun = self.cut.start == 0 or when >= self.cut.start - 1e-9
        return begun and (self.cut.end is None or when < self.cut.end)

    def rgb(self, frame: Any) -> np.ndarray:
        """Return (H, W, 3) of uint8, or uint16 for more than 8 bits."""
        kind = "rgb48le" if self.deep else "rgb24"
        turned = self.reformatter.reformat(
            frame, format=kind, src_colorspace=self.matrix(), src_color_range=self.range(),
            dst_color_range=ColorRange.JPEG, interpolation=EXACTLY,
        )  # fmt: skip
        return turned.to_ndarray()

    def matrix(self) -> int:
        """Return FFmpeg's number of the colour space."""
        named = int(self.stream.codec_context.colorspace)
        if named != UNSPECIFIED:
            return {6: ITU601, 10: BT2020}.get(named, named)
        return ITU709 if self.stream.codec_context.height >= 720 else ITU601

    def range(self) -> int:
        """Return FFmpeg's number of the range of values, full or limited."""
        full = (
            int(self.stream.codec_context.color_range) == ColorRange.JPEG or "yuvj" in self.stream.codec_context.pix_fmt
        )
        return int(ColorRange.JPEG if full else ColorRange.MPEG)

    def offset(self, time_base: Fraction) -> int:
        """Return when the cut begins."""
        return round((self.origin + Fraction(self.cut.start)) / time_base)
