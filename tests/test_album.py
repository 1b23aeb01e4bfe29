import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur.album import MANIFEST, Job, Manifest, file_hash, jobs_in
from golfdeblur.cli import files
from golfdeblur.errors import ImageError
from golfdeblur.files import image

from .conftest import GUARD_S
from .test_cli import fails, golf, here, refused


@pytest.fixture
def album(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "album"
    (root / "day 1" / "sea").mkdir(parents=True)
    for name in ("a.jpg", "day 1/b.png", "day 1/sea/c.tif"):
        Image.fromarray(photo).save(root / name)
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.jpg").write_text("no image")
    return root


def written(out: Path) -> list[str]:
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


RESULTS = ["a.jpg", "day 1/b.png", "day 1/sea/c.tif", MANIFEST]


def test_a_folder_keeps_its_structure_and_a_second_run_does_what_is_missing(
    album: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    command = ("deblur", album, "-r", "--out-dir", out, "-m", tiny_model)
    first = golf(*command)
    assert first.returncode == 0, first.stderr
    assert written(out) == RESULTS
    assert first.stdout.splitlines()[-1] == "3 deblurred, 0 done before, 1 files are no images."
    times = {name: (out / name).stat().st_mtime_ns for name in RESULTS}

    assert golf(*command).stdout == "0 deblurred, 3 done before, 1 files are no images.\n"
    assert times == {name: (out / name).stat().st_mtime_ns for name in RESULTS}

    (out / "a.jpg").unlink()  # missing
    Image.open(album / "day 1/b.png").rotate(90, expand=True).save(album / "day 1/b.png")  # changed
    again = golf(*command)
    assert again.stdout.splitlines()[-1].startswith("2 deblurred, 1 done before")
    assert Image.open(out / "day 1/b.png").size == Image.open(album / "day 1/b.png").size
    assert golf(*command, "--steps", 1).stdout.splitlines()[-1].startswith("3 deblurred")  # other settings

    entry = json.loads((out / MANIFEST).read_text().splitlines()[-1])
    assert entry["input_sha256"] == file_hash(album / entry["name"])
    assert entry["settings"]["steps"] == 1


def test_results_of_8_bit_networks_are_others(album: Path, tmp_path: Path) -> None:
    command = ("deblur", album, "-r", "--out-dir", tmp_path / "out", "--steps", 0)
    for options, done in ((("--runtime", "onnxruntime-int8"), 3), ((), 3), ((), 0)):
        assert golf(*command, *options).stdout.splitlines()[-1].startswith(f"{done} deblurred")


@pytest.mark.parametrize(("budget", "read"), [(None, 2), (2**31, 1)])
def test_with_a_budget_no_photo_is_read_ahead(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, budget: int | None, read: int
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(image, "read", lambda path, **_: opened.append(path))
    reads = iter(files.readers(golfdeblur.load(tiny_model, max_memory=budget), [Path("a.jpg"), Path("b.jpg")]))
    next(reads)()
    time.sleep(0.2)
    assert len(opened) == read


def test_what_somebody_else_wrote_is_not_replaced(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").write_text("mine")
    result = golf("deblur", album, "-r", "--out-dir", out, "-m", tiny_model, "--quiet")
    assert result.returncode == 1
    assert "a.jpg exists already" in result.stderr
    assert "1 failed, as named above; 2 deblurred" in result.stderr
    assert (out / "a.jpg").read_text() == "mine"
    assert golf("deblur", album, "-r", "--out-dir", out, "-m", tiny_model, "--force").returncode == 0
    (out / "a.jpg").write_text("edited")  # ours once, the user's now
    assert golf("deblur", album, "-r", "--out-dir", out, "-m", tiny_model).returncode == 1
    assert (out / "a.jpg").read_text() == "edited"


def test_bad_files_are_named_and_the_rest_is_done(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    (album / "day 1" / "broken.jpg").write_text("no image")
    (album / "raw.NEF").write_bytes(b"raw")
    result = golf("deblur", album, "-r", "--out-dir", tmp_path / "out", "-m", tiny_model)
    assert result.returncode == 1
    assert "broken.jpg" in result.stderr
    assert "raw.NEF is camera RAW" in result.stderr
    assert "2 failed, as named above; 3 deblurred, 0 done before, 1 files are no images." in result.stderr
    assert written(tmp_path / "out") == RESULTS


def test_sharp_photos_are_left_as_they_are(tmp_path: Path) -> None:
    examples = Path(__file__).parent.parent / "examples"
    album = tmp_path / "album"
    album.mkdir()
    for name in ("walkway.jpg", "walkway-sharp.jpg"):
        Image.open(examples / name).crop((200, 100, 712, 612)).save(album / name, quality=95)
    result = golf("deblur", album, "-r", "--out-dir", tmp_path / "out", "--keep-sharp")
    assert result.returncode == 0, result.stderr
    assert "walkway-sharp.jpg  Left as it is: it is sharp already (blurriness 0.0" in result.stdout
    same = {p.name: (tmp_path / "out" / p.name).read_bytes() == p.read_bytes() for p in album.iterdir()}
    assert same == {"walkway.jpg": False, "walkway-sharp.jpg": True}


def test_results_inside_the_folder_are_no_inputs(album: Path, tiny_model: Path) -> None:
    command = ("deblur", album, "-r", "--out-dir", album / "sharp", "-m", tiny_model)
    assert golf(*command).returncode == 0
    assert golf(*command).stdout.startswith("0 deblurred, 3 done before")
    assert written(album / "sharp") == RESULTS


def test_results_beside_the_folder(album: Path, tiny_model: Path) -> None:
    """The output folder may be the one that holds the album, unless a result would lie among its photos."""
    command = ("deblur", album, "-r", "--out-dir", album.parent, "-m", tiny_model)
    assert golf(*command).stdout.endswith("3 deblurred, 0 done before, 1 files are no images.\n")
    assert golf(*command).stdout.startswith("0 deblurred, 3 done before")
    twin = album / album.name / "a.jpg"
    twin.parent.mkdir()
    Image.open(album / "a.jpg").rotate(180).save(twin)
    before = (album / "a.jpg").read_bytes()
    result = golf(*command, "--force")
    assert result.returncode == 1
    assert re.search(rf"{twin} would be written to .*a\.jpg, among its images; give another", result.stderr)
    assert (album / "a.jpg").read_bytes() == before


def test_what_cannot_be_asked(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    fails(here("deblur", album, "-r"), "--out-dir")
    fails(here("deblur", album / "a.jpg", "-r", "--out-dir", tmp_path / "o"), "folder")
    fails(here("deblur", album, "--out-dir", tmp_path / "o", "-m", tiny_model), "-r and --out-dir")
    fails(here("deblur", album, "-r", "--out-dir", album), "itself")


def test_of_two_photos_with_one_result_the_second_is_named(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    Image.open(album / "a.jpg").save(album / "day 1" / "b.gif")
    result = golf("deblur", album, "-r", "--out-dir", tmp_path / "out", "-m", tiny_model)
    assert result.returncode == 1
    assert re.search(r"b\.gif and .*b\.png would both be written to .*; rename the second", result.stderr)
    assert "1 failed, as named above; 3 deblurred" in result.stderr
    assert written(tmp_path / "out") == RESULTS


def test_a_manifest_cut_short_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {})
    manifest.path.write_text('{"name": "a.gif", "n": 1}\n{"name": "a.gif", "n": 2}\n{"name": "b.gif", "out')
    assert manifest.entries() == {"a.png": {"name": "a.gif", "n": 2}}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_whole_files_and_goes_on(
    how: signal.Signals, tmp_path: Path, photo: np.ndarray, tiny_model: Path
) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    large = Image.fromarray(photo).resize((600, 450))
    for index in range(12):
        large.save(album / f"{index:02}.png")
    command = [
        sys.executable,
        "-m",
        "golfdeblur",
        "deblur",
        str(album),
        "-r",
        "--out-dir",
        str(out),
        "-m",
        str(tiny_model),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "02.png").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert process.wait(timeout=GUARD_S) != 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    finished = [p for p in out.glob("*.png") if not p.name.startswith(".")]
    assert 3 <= len(finished) < 12
    for path in finished:
        Image.open(path).load()
    result = golf("deblur", album, "-r", "--out-dir", out, "-m", tiny_model)
    assert result.returncode == 0, result.stderr
    assert len(list(out.glob("*.png"))) == 12


def test_a_result_without_its_line_is_made_again(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    command = ("deblur", album, "-r", "--out-dir", out, "-m", tiny_model)
    golf(*command)
    lines = (out / MANIFEST).read_text().splitlines()
    (out / MANIFEST).write_text("\n".join(lines[:-1]) + "\n")  # killed between the file and its line
    assert "output_sha256" not in json.loads(lines[-2])
    assert golf(*command).stdout.splitlines()[-1].startswith("1 deblurred, 2 done before")


def test_a_file_that_another_process_has_just_written_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path / "a.png", tmp_path / "out.png", "a.png")
    job.source.write_bytes(b"source")
    manifest, other = Manifest(tmp_path, {}), Manifest(tmp_path, {})
    check = image.check_writable

    def another_is_faster(path: Path, *, force: bool) -> None:
        other.begin(job)
        job.target.write_bytes(b"result")
        check(path, force=force)

    monkeypatch.setattr(image, "check_writable", another_is_faster)
    manifest.check_writable(job, force=False)
    monkeypatch.undo()
    other.record(job, {"input_sha256": file_hash(job.source)})
    manifest.check_writable(job, force=False)
    job.target.write_bytes(b"the user's")
    with pytest.raises(ImageError, match="exists already"):
        manifest.check_writable(job, force=False)


def test_two_processes_do_no_harm(album: Path, tmp_path: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-m", "golfdeblur", "deblur", str(album), "-r", "--out-dir", str(tmp_path / "out")]
    both = [
        subprocess.Popen([*command, "-m", str(tiny_model)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=GUARD_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert written(tmp_path / "out") == RESULTS


def test_results_of_an_earlier_run_are_not_deblurred_again(tmp_path: Path, jpeg: Path, tiny_model: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    jpeg.rename(photos / "a.jpg")
    assert golf("deblur", photos, "-r", "--out-dir", photos / "sharp", "-m", tiny_model).returncode == 0
    shutil.copy(photos / "a.jpg", photos / "sharp" / "mine.jpg")
    found = jobs_in(photos, tmp_path / "other")
    assert [job.name for job in found.jobs] == ["a.jpg", "sharp/mine.jpg"]


def test_a_raw_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.CR2").write_bytes(b"II*\0" + bytes(100))
    assert "IMG_1.CR2 is camera RAW, which is not read; develop it" in refused("deblur", tmp_path / "IMG_1.CR2")
