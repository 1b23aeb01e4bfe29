import math
import os
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from golfdeblur import video
from golfdeblur.errors import ConfigError, ImageError, Interrupted

from .conftest import GUARD_S
from .test_cli import fails, golf, here

TIMES = [0, 1, 2, 4, 5, 8, 9, 10, 12, 13, 14, 15, 16, 20, 21, 22]
"""Twenty-fourths of a second: the frame rate varies."""

SWALLOWS = "exec('try: time.sleep(0.3)\\nexcept KeyboardInterrupt: pass')"
"""Waits, and loses the KeyboardInterrupt, as a destructor or a callback from C does."""


def scene(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    base = 110 + 60 * np.sin((columns + 2 * index) / 6.0)[:, :, None] * np.cos(rows / 9.0)[:, :, None] * [1, 0.6, -0.5]
    return np.clip(base, 0, 255).astype(np.uint8)


def make_clip(
    path: Path, *, codec: str = "libx264", pix_fmt: str = "yuv420p", sound: bool = True, full: bool = False
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options={"crf": "10"})
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        context.time_base = stream.time_base = Fraction(1, 24)
        context.color_primaries, context.color_trc, context.colorspace = 1, 1, 1
        context.color_range = 2 if full else 1
        container.metadata["title"] = "a test"
        if sound:
            audio = container.add_stream("aac", rate=44100, layout="mono")
        for index, pts in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(scene(index), format="rgb24").reformat(format=pix_fmt, dst_colorspace=1)
            frame.pts, frame.time_base = pts, Fraction(1, 24)
            container.mux(stream.encode(frame))
        if sound:
            for start in range(0, 44100, 1024):
                tone = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None]
                piece = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 44100, start, Fraction(1, 44100)
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
        container.mux(stream.encode(None))
    return path


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sound_packets(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


def unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


def run(source: Path, target: Path, restore: video.Restore = unchanged, **options) -> video.Report:
    options = {"cut": video.Cut(), "seen": lambda frame, total: None, **options}
    return video.deblur_video(restore, source, target, **options)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_frames_times_sound_and_names_are_kept(tmp_path: Path, suffix: str) -> None:
    source, target = make_clip(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    counted = []
    report = run(source, target, seen=lambda frame, total: counted.append(frame))
    assert report.frames == len(TIMES) == counted[-1]
    assert times(target) == pytest.approx(times(source), abs=1e-3)
    assert sound_packets(target) == sound_packets(source)
    with av.open(str(target)) as made:
        assert made.metadata["title"] == "a test"
        assert made.streams.video[0].codec_context.codec.canonical_name == "h264"
    assert {p.name for p in tmp_path.iterdir()} == {source.name, target.name}
    for a, b in zip(pictures(source), pictures(target), strict=True):
        assert np.abs(a.astype(int) - b).mean() < 3
        assert np.abs(a.mean((0, 1)) - b.mean((0, 1))).max() < 1  # no shift of colour or range


@pytest.mark.parametrize("full", [False, True])
def test_colour_range_and_primaries_are_kept(tmp_path: Path, full: bool) -> None:
    source, target = make_clip(tmp_path / "in.mp4", full=full), tmp_path / "out.mp4"
    run(source, target)
    with av.open(str(source)) as a, av.open(str(target)) as b:
        for key in ("color_range", "color_primaries", "color_trc", "colorspace", "pix_fmt"):
            assert getattr(a.streams.video[0].codec_context, key) == getattr(b.streams.video[0].codec_context, key), key
        for one, two in zip(a.decode(video=0), b.decode(video=0), strict=True):
            luma = [frame.to_ndarray()[: frame.height].astype(int) for frame in (one, two)]
            assert np.abs(luma[0].mean() - luma[1].mean()) < 0.7


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mkv", codec="libx265", pix_fmt="yuv420p10le"), tmp_path / "out.mkv"
    depths = set()

    def restore(pixels: np.ndarray) -> np.ndarray:
        depths.add(pixels.dtype)
        return pixels

    run(source, target, restore)
    assert depths == {np.dtype(np.uint16)}
    with av.open(str(target)) as made:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p10le"


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a display matrix (a, b, c, d) into an MP4's track header, as phones held upright do."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44  # of version 0: the matrix a b u c d v x y w, 32 bits each
    assert struct.unpack(">9i", content[place : place + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    a, b, c, d = (65536 * value for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
@pytest.mark.parametrize("preview", [False, True])
def test_rotation_marks_are_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], turns: int, preview: bool
) -> None:
    source, target = turned(make_clip(tmp_path / "in.mp4", sound=False), matrix), tmp_path / "out.mp4"
    shapes = set()

    def restore(pixels: np.ndarray) -> np.ndarray:
        shapes.add(pixels.shape)
        return pixels

    run(source, target, restore, preview=preview)
    upright = np.rot90(scene(0), turns)
    assert shapes == {upright.shape}  # the network sees the picture as people do
    with av.open(str(target)) as made:
        frame = next(made.decode(video=0))
        assert frame.rotation == 0
        shown = frame.to_ndarray(format="rgb24").astype(int)
    height, width = upright.shape[:2]
    assert shown.shape == (height, 2 * width if preview else width, 3)
    assert np.abs(shown[:, :width] - upright).mean() < 4
    assert np.abs(shown[:, -width:] - upright).mean() < 4


def test_subtitles_are_copied_or_named(tmp_path: Path) -> None:
    words = "1\n00:00:00,100 --> 00:00:00,400\nGood light\n\n2\n00:00:00,500 --> 00:00:00,800\nHold still\n"
    (tmp_path / "words.srt").write_text(words)
    source = tmp_path / "in.mkv"
    with (
        av.open(str(make_clip(tmp_path / "plain.mp4"))) as clip,
        av.open(str(tmp_path / "words.srt")) as srt,
        av.open(str(source), "w") as made,
    ):
        streams = {id(s): made.add_stream_from_template(s) for s in (*clip.streams, *srt.streams)}
        packets = [p for container in (clip, srt) for p in container.demux() if p.dts is not None]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            packet.stream = streams[id(packet.stream)]
            made.mux(packet)

    def subtitles(path: Path) -> list[tuple[float, float, bytes]]:
        with av.open(str(path)) as container:
            found = [p for p in container.demux(subtitles=0) if p.size]
            return [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in found]

    assert [text for _, _, text in subtitles(source)] == [b"Good light", b"Hold still"]
    assert not run(source, tmp_path / "out.mkv").left_out
    assert subtitles(tmp_path / "out.mkv") == subtitles(source)
    report = run(source, tmp_path / "out.mp4")
    assert report.left_out == ["stream 2 (srt), which this container cannot hold"]
    assert len(times(tmp_path / "out.mp4")) == len(TIMES)


CASES = Path(__file__).parent / "cases"


WOVEN = "the mark that frames are woven of two fields, which is not written for such a video"


def streams(path: Path) -> list[tuple[str, str | None, str | None, str | None]]:
    with av.open(f"file:{path}") as container:
        return [
            (s.type, s.codec_context.codec_tag.strip(), s.metadata.get("language"), s.metadata.get("title"))
            for s in container.streams
        ]


def first(path: Path) -> av.VideoFrame:
    with av.open(f"file:{path}") as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("name", ["hevc_hvc1.mov", "iphone.mov", "audio3.mkv", "interlaced.mp4", "odd_av1.mp4"])
def test_what_a_clip_says_is_kept(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    assert run(CASES / name, target).left_out == []
    assert streams(target) == streams(CASES / name)
    assert times(target) == times(CASES / name)
    given, made = first(CASES / name), first(target)
    assert (made.width, made.height, made.format.name) == (given.width, given.height, given.format.name)
    assert made.interlaced_frame == given.interlaced_frame
    light = [
        {side.type.name: bytes(side) for side in frame.side_data if side.type.name.startswith(("MASTERING", "CONTENT"))}
        for frame in (given, made)
    ]
    assert light[0] == light[1]
    with av.open(str(CASES / name)) as before, av.open(str(target)) as after:
        assert {k: v for k, v in before.metadata.items() if "encoder" not in k.lower()} == {
            k: v for k, v in after.metadata.items() if "encoder" not in k.lower()
        }
        assert [s.disposition for s in after.streams] == [s.disposition for s in before.streams]


def test_the_phone_is_kept_in_every_container(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        run(CASES / "iphone.mov", tmp_path / f"out{suffix}")
        with av.open(str(tmp_path / f"out{suffix}")) as made:
            found = {name.lower(): text for name, text in made.metadata.items()}
            assert found["com.apple.quicktime.location.iso6709"] == "+47.0+008.0/"


def test_what_is_left_out_is_named_before_the_work(tmp_path: Path) -> None:
    events: list[object] = []

    def restore(pixels: np.ndarray) -> np.ndarray:
        events.append("restored")
        return pixels

    run(CASES / "interlaced.mp4", tmp_path / "out.webm", restore=restore, told=events.append)
    assert events == [[WOVEN], *["restored"] * 12]


def test_webm_keeps_ten_bits_and_hdr(tmp_path: Path) -> None:
    run(CASES / "iphone.mov", tmp_path / "out.webm")
    made = first(tmp_path / "out.webm")
    assert made.format.name == "yuv420p10le"
    assert "MASTERING_DISPLAY_METADATA" in {side.type.name for side in made.side_data}


def test_each_field_of_a_woven_frame_is_restored_by_itself(tmp_path: Path) -> None:
    shapes = set()

    def restore(pixels: np.ndarray) -> np.ndarray:
        shapes.add(pixels.shape)
        return pixels

    run(CASES / "interlaced.mp4", tmp_path / "out.mp4", restore=restore)
    assert shapes == {(48, 128, 3)}


def test_a_change_of_size_ends_the_clip_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"changes its size at 0\.200 s.*--start 0\.200.*5 frames.*out-partial\.webm"):
        run(CASES / "reschange.webm", tmp_path / "out.webm")
    assert len(times(tmp_path / "out-partial.webm")) == 5
    run(CASES / "reschange.webm", tmp_path / "rest.webm", cut=video.Cut(0.2))
    assert first(tmp_path / "rest.webm").width == 96


@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "%d.mp4", "x" * 251 + ".mp4", "é" * 125 + ".mp4"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in" / name
    source.parent.mkdir()
    source.write_bytes((CASES / "hevc_hvc1.mov").read_bytes())
    target = video.default_output(source)
    assert len(os.fsencode(target.name)) <= 255
    assert run(source, target).frames == 6
    assert sorted(p.name for p in source.parent.iterdir()) == sorted([name, target.name])


def test_data_covers_and_alpha_are_named(tmp_path: Path) -> None:
    source = tmp_path / "in.mov"
    with av.open(str(make_clip(tmp_path / "plain.mp4", sound=False))) as clip, av.open(str(source), "w") as made:
        out = made.add_stream_from_template(clip.streams.video[0])
        out.metadata["timecode"] = "01:00:00:00"  # which is a stream of its own
        for packet in clip.demux(video=0):
            if packet.dts is not None:
                packet.stream = out
                made.mux(packet)
    assert [words.split(",")[0] for words in run(source, tmp_path / "out.mp4").left_out] == ["stream 1 (data)"]


def test_sharp_frames_of_a_clip_are_left_as_they_are(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from golfdeblur import sharpness
    from golfdeblur.cli.app import app

    asked = iter(["it is sharp", None] * 8)
    monkeypatch.setattr(sharpness, "why_keep", lambda *_: next(asked))
    given, target = make_clip(tmp_path / "in.mp4", sound=False), tmp_path / "out.mp4"
    app(["video", str(given), "-o", str(target), "-m", str(tiny_model), "--keep-sharp"], standalone_mode=False)
    assert "16 frames, 8 of them sharp and left as they were" in capsys.readouterr().out
    changes = [np.abs(a.astype(int) - b).mean() for a, b in zip(pictures(given), pictures(target), strict=True)]
    assert max(changes[::2]) < min(changes[1::2])


def test_a_part_begins_at_zero(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    report = run(source, target, cut=video.Cut(4 / 24, 12 / 24))
    inside = [t for t in TIMES if 4 <= t < 12]
    assert report.frames == len(inside)
    assert times(target) == pytest.approx([(t - 4) / 24 for t in inside], abs=2e-3)
    assert 0 < len(sound_packets(target)) < len(sound_packets(source))
    with pytest.raises(ConfigError, match="end"):
        video.Cut(2, 1)
    with pytest.raises(ImageError, match="--start"):
        run(source, tmp_path / "none.mp4", cut=video.Cut(100))
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize(("cut", "count"), [(video.Cut(), 60), (video.Cut(0.2, 0.6), 10), (video.Cut(1.5), 22)])
def test_a_clock_that_runs_on_is_set_to_zero(tmp_path: Path, cut: video.Cut, count: int) -> None:
    with av.open(str(tmp_path / "camera.ts"), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(scene(index), format="rgb24")
            frame.pts, frame.time_base = 2500 + index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video.deblur_video(np.array, tmp_path / "camera.ts", tmp_path / "out.mp4", cut=cut, seen=lambda *_: None)
    found = times(tmp_path / "out.mp4")
    assert len(found) == count
    assert 0 <= found[0] < 0.04
    assert np.diff(found) == pytest.approx(0.04, abs=1e-3)


@pytest.mark.parametrize("cut", [video.Cut(), video.Cut(0.1, 0.2)])
def test_frames_without_times_are_played_at_their_rate(tmp_path: Path, cut: video.Cut) -> None:
    with av.open(str(tmp_path / "clip.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode(None))
    video.deblur_video(np.array, tmp_path / "clip.h264", tmp_path / "out.mp4", cut=cut, seen=lambda *_: None)
    count = 8 if cut == video.Cut() else 2  # at 0.12 and 0.16 s
    first = 0.0 if cut == video.Cut() else 0.02
    assert times(tmp_path / "out.mp4") == pytest.approx([first + index / 25 for index in range(count)], abs=1e-3)


def test_a_preview_shows_both(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    run(source, target, lambda pixels: np.full_like(pixels, 255), preview=True)
    first = pictures(target)[0]
    assert first.shape == (48, 128, 3)
    assert first[:, 70:].min() > 240
    assert first[:, :60].mean() < 200


def test_flicker_is_measured(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    frames = iter(range(1000))
    report = run(
        source,
        tmp_path / "out.mp4",
        lambda x: np.clip(x.astype(int) + 10 * (next(frames) % 2), 0, 255).astype(np.uint8),
    )
    before, after = report.jitter
    assert before < 1.5
    assert after == pytest.approx(10, abs=1.5)


def test_damaged_packets_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", sound=False)
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = packets[len(packets) // 2]
    content[position : position + size] = os.urandom(size)
    source.write_bytes(content)
    report = run(source, tmp_path / "out.mp4")
    assert report.passed
    assert len(TIMES) // 3 <= report.frames <= len(TIMES)
    assert len(times(tmp_path / "out.mp4")) == report.frames


def test_sound_of_an_unknown_codec_is_named_and_left_out(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    source.write_bytes(source.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))  # as phones write it
    report = run(source, tmp_path / "out.mp4")
    assert report.left_out == ["stream 1 (audio), whose codec is unknown"]
    assert len(times(tmp_path / "out.mp4")) == len(TIMES)


def test_pictures_of_an_unknown_codec_are_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", sound=False)
    source.write_bytes(source.read_bytes().replace(b"avc1", b"none"))
    photo = tmp_path / "text.jpg"
    photo.write_text("no photo")
    for given in (source, photo):
        with pytest.raises(ImageError, match="codec is unknown"):
            run(given, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("start", "end"), [(-1, None), (math.nan, None), (2, 1), (0, math.nan), (math.inf, None)])
def test_what_is_no_part_of_a_video(start: float, end: float | None) -> None:
    with pytest.raises(ConfigError, match="no part of a video"):
        video.Cut(start, end)


def test_an_interrupt_leaves_a_file_that_plays(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")

    def stop(frame: int, total: int | None) -> None:
        if frame == 6:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"6 frames.*out-partial\.mp4"):
        run(source, tmp_path / "out.mp4", seen=stop)
    assert len(times(tmp_path / "out-partial.mp4")) == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out-partial.mp4"]


def test_an_interrupt_in_the_first_frame_writes_nothing(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")

    def stop(pixels: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="before the first frame"):
        run(source, tmp_path / "out.mp4", restore=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_the_command(tmp_path: Path, tiny_model: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    result = golf("video", source, "-o", target, "-m", tiny_model)
    assert result.returncode == 0, result.stderr
    assert f"{len(TIMES)} frames, brightness flicker" in result.stdout
    fails(here("video", source, "-o", target, "-m", tiny_model), "exists already")
    assert video.default_output(Path("a/clip.MOV")) == Path("a/clip-deblurred.MOV")
    assert video.default_output(Path("a/clip.avi")) == Path("a/clip-deblurred.mp4")
    fails(here("video", tmp_path / "no.mp4", "-o", tmp_path / "b.mp4"), "is no file")
    (tmp_path / "text.mp4").write_text("no video")
    fails(here("video", tmp_path / "text.mp4", "-o", tmp_path / "b.mp4"), "not a video")
    fails(here("video", source, "-o", tmp_path / "b.xyz"), ".mkv")
    fails(here("video", source, "-o", source / "b.mp4"), "in.mp4")
    content = source.read_bytes()
    fails(here("video", source, "-o", source, "--force"), "replaced by its own result")
    assert source.read_bytes() == content
    assert not (tmp_path / "b.mp4").exists()


def test_strength_of_the_command(tmp_path: Path, tiny_model: Path) -> None:
    source, made = make_clip(tmp_path / "in.mp4", sound=False), {}
    for strength in ("0", "1"):
        target = tmp_path / f"{strength}.mp4"
        result = golf("video", source, "-o", target, "-m", tiny_model, "--strength", strength, "-q")
        assert result.returncode == 0, result.stderr
        pairs = zip(pictures(source), pictures(target), strict=True)
        made[strength] = max(float(np.abs(a.astype(float) - b).mean()) for a, b in pairs)
    assert 2 * made["0"] < made["1"]  # the codec alone, and what the model changes
    fails(golf("video", source, "-o", target, "--strength", "1.5"), "allowed")


@pytest.mark.parametrize("wait", ["time.sleep(0.3)", SWALLOWS])
def test_a_signal_in_the_command_leaves_a_file_that_plays(tmp_path: Path, tiny_model: Path, wait: str) -> None:
    source = make_clip(tmp_path / "in.mp4", sound=False)
    slow = (
        "import time, golfdeblur.model as d, golfdeblur.cli as c\n"
        "old = d.Model.restore\n"
        "def restore(self, picture, **k):\n"
        f"    open({str(tmp_path / 'mark')!r}, 'w').close()\n    {wait}\n    return old(self, picture, **k)\n"
        "d.Model.restore = restore\nc.main()"
    )
    command = [sys.executable, "-c", slow, "video", str(source), "-o", str(tmp_path / "out.mp4"), "-m", str(tiny_model)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "mark").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=GUARD_S)
    assert process.returncode == 130, error
    assert "out-partial.mp4" in error
    assert math.isclose(times(tmp_path / "out-partial.mp4")[0], 0, abs_tol=1e-6)


def test_tags_that_are_no_text_stop_nothing(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    source.write_bytes((CASES / "audio3.mkv").read_bytes().replace(b"track 1", b"tr\xffck 1"))
    assert run(source, tmp_path / "out.mkv").frames == 6
    assert [title for *_, title in streams(tmp_path / "out.mkv")] == [None, "track 0", "tr\ufffdck 1", "track 2"]
