import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur import __version__, bench
from golfdeblur.cli.app import app, main, progress
from golfdeblur.errors import GolfError

from .conftest import GUARD_S
from .test_image import bad_files


def golf(*arguments: object, cwd: Path | None = None, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "golfdeblur", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=GUARD_S, check=False, **options)


def here(*arguments: object) -> subprocess.CompletedProcess:
    """Run the command in this process, which has imported what it needs: seconds less where that is torch."""
    out, error = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["golf", *map(str, arguments)]),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        pytest.raises(SystemExit) as end,
    ):
        sys.exit(main())
    return subprocess.CompletedProcess(arguments, end.value.code or 0, out.getvalue(), error.getvalue())


def refused(*arguments: object) -> str:
    """Return the sentence of the GolfError with which the command refuses, run in this process, which is quicker."""
    with pytest.raises(GolfError) as caught:
        app(list(map(str, arguments)), standalone_mode=False)
    return str(caught.value)


def fails(result: subprocess.CompletedProcess, *words: str) -> None:
    """One sentence on stderr that says these words, no traceback, a non-zero code."""
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("golf: ")
    for word in words:
        assert word in lines[0]


def test_strength_of_the_command(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    source, same = tmp_path / "photo.png", tmp_path / "same.png"
    Image.fromarray(photo).save(source)
    app(["deblur", str(source), "-o", str(same), "--model", str(tiny_model), "--strength", "0"], standalone_mode=False)
    assert np.array_equal(np.asarray(Image.open(same)), photo)
    assert "allowed" in refused("deblur", source, "--strength", "2")
    assert "--strokes" in refused("deblur", source, "--strength", "0.5", "--strokes")


def test_a_folder_of_another_strength_is_done_anew(
    tmp_path: Path, photo: np.ndarray, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in" / "photo.png")
    for strength, done in (("0.5", "1 deblurred"), ("0.5", "0 deblurred"), ("0", "1 deblurred")):
        how = ["--out-dir", str(tmp_path / "out"), "--model", str(tiny_model), "--strength", strength]
        app(["deblur", str(tmp_path / "in"), "-r", *how], standalone_mode=False)
        assert done in capsys.readouterr().out
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "photo.png")), photo)


def test_deblur_writes_beside_the_input(jpeg: Path, tiny_model: Path) -> None:
    result = golf("deblur", jpeg, "--model", tiny_model)
    assert result.returncode == 0, result.stderr
    out = jpeg.with_name("photo-deblurred.jpg")
    assert Image.open(out).size == Image.open(jpeg).size
    assert str(out) in result.stdout
    assert re.fullmatch(rf"{re.escape(str(out))}  Deblurred, [\d.]+ s\n", result.stdout)
    fails(golf("deblur", jpeg, "--model", tiny_model), "exists already", "--force")
    assert golf("deblur", jpeg, "--model", tiny_model, "--force", "--quiet").stdout == ""
    result = golf("deblur", jpeg, "--model", tiny_model, "-v", "-o", jpeg.parent / "new" / "folder" / "x.png")
    assert "corrections" in result.stdout
    assert "mean change" in result.stdout
    assert (jpeg.parent / "new" / "folder" / "x.png").exists()


def test_strokes_writes_every_iterate_and_a_strip(jpeg: Path, tiny_model: Path) -> None:
    out = jpeg.with_name("sharp.png")
    result = golf("deblur", jpeg, "-o", out, "-m", tiny_model, "--steps", 2, "--strokes", "--json")
    report = json.loads(result.stdout)
    assert report["corrections"] == 2
    assert len(report["changes_grey_levels"]) == 3
    names = {p.name for p in jpeg.parent.iterdir()}
    assert names == {"photo.jpg", "sharp.png", "sharp-x0.png", "sharp-x1.png", "sharp-x2.png", "sharp-strokes.png"}
    assert np.array_equal(Image.open(jpeg.with_name("sharp-x2.png")), Image.open(out))
    width, height = Image.open(jpeg).size
    strip = Image.open(jpeg.with_name("sharp-strokes.png"))
    assert strip.width >= 4 * width
    assert strip.height > height


def test_strokes_are_written_over_nothing(jpeg: Path, tiny_model: Path, photo: np.ndarray) -> None:
    other = jpeg.with_name("photo-x1.jpg")
    other.write_bytes(jpeg.read_bytes())
    out = jpeg.parent / "out"
    command = ("deblur", jpeg, other, "--out-dir", out, "-m", tiny_model, "--strokes", "--force")
    fails(golf(*command), "photo-x1.jpg", "taken")
    fails(here("deblur", jpeg, other, "--force", "-m", tiny_model, "--strokes", "--out-dir", jpeg.parent), "replaced")
    assert list(out.iterdir()) == []
    assert other.read_bytes() == jpeg.read_bytes()
    fails(here("deblur", jpeg.parent, "-r", "--out-dir", out, "-m", tiny_model, "--strokes"), "--strokes", "-r")
    assert list(out.iterdir()) == []


def test_many_inputs_one_bad(jpeg: Path, tiny_model: Path, photo: np.ndarray) -> None:
    bad, _ = bad_files(jpeg.parent, photo)["truncated"]
    folder = jpeg.parent / "out"
    result = golf("deblur", bad, jpeg, "--out-dir", folder, "-m", tiny_model)
    assert result.returncode == 1
    assert "short.jpg" in result.stderr
    assert "1 of 2" in result.stderr
    assert [p.name for p in folder.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "truncated", "empty", "bomb"])
def test_bad_input(tmp_path: Path, photo: np.ndarray, tiny_model: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path, _ = bad_files(folder, photo)[kind]
    before = sorted(folder.iterdir())
    fails(golf("deblur", path, "-o", tmp_path / "out.png", "-m", tiny_model), str(path))
    assert not (tmp_path / "out.png").exists()
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_folders_without_a_name_are_no_images(place: str, jpeg: Path, tiny_model: Path) -> None:
    for options in ((), ("--out-dir", "out")):
        fails(
            golf("deblur", place, "-m", tiny_model, *options, cwd=jpeg.parent),
            f"{place} is a folder",
            "-r and --out-dir",
        )


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_of_several_pictures_the_first_is_taken_and_that_is_said(
    tmp_path: Path, photo: np.ndarray, tiny_model: Path, suffix: str
) -> None:
    one = Image.fromarray(photo)
    one.save(tmp_path / f"a{suffix}", save_all=True, append_images=[one.rotate(90), one.rotate(180)])
    result = golf("deblur", tmp_path / f"a{suffix}", "-m", tiny_model)
    assert "Only the first of the file's 3 pictures was taken" in result.stdout
    report = json.loads(golf("deblur", tmp_path / f"a{suffix}", "-m", tiny_model, "--json", "--force").stdout)
    assert report["pictures"] == 3


def test_results_in_a_folder_keep_their_names(jpeg: Path, tiny_model: Path) -> None:
    earlier = jpeg.rename(jpeg.with_name("photo-deblurred.jpg"))
    assert golf("deblur", earlier, "--out-dir", jpeg.parent / "out", "-m", tiny_model).returncode == 0
    assert [p.name for p in (jpeg.parent / "out").iterdir()] == ["photo-deblurred.jpg"]


def test_no_input_is_replaced_by_the_result_of_another(jpeg: Path, tiny_model: Path) -> None:
    earlier = jpeg.with_name("photo-deblurred.jpg")
    earlier.write_bytes(jpeg.read_bytes())
    said = "photo-deblurred.jpg would be replaced by the result of"
    fails(here("deblur", earlier, jpeg, "--force", "-m", tiny_model), said)
    assert earlier.read_bytes() == jpeg.read_bytes()
    assert sorted(p.name for p in jpeg.parent.iterdir()) == ["photo-deblurred.jpg", "photo.jpg"]


def test_outputs_that_cannot_be(jpeg: Path, tiny_model: Path) -> None:
    fails(here("deblur", jpeg, "-o", jpeg.parent / "x.doc", "-m", tiny_model), ".doc")
    fails(here("deblur", jpeg, "-o", jpeg, "--force", "-m", tiny_model), "own result")
    fails(here("deblur", jpeg, jpeg, "-o", "a.png", "-m", tiny_model), "--out-dir")
    fails(here("deblur", jpeg, "-o", "/proc/out.png", "-m", tiny_model), "/proc/out.png")
    assert [p.name for p in jpeg.parent.iterdir()] == ["photo.jpg"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a small file system's stand-in")
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, tiny_model: Path) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")

    def little_room() -> None:  # a write beyond 50 kB fails, as on a full disk
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    result = golf("deblur", tmp_path / "noise.png", "-m", tiny_model, preexec_fn=little_room)
    fails(result, "cannot be written")
    assert [p.name for p in tmp_path.iterdir()] == ["noise.png"]


def test_unknown_and_damaged_models(jpeg: Path, tiny_model: Path, tmp_path: Path) -> None:
    fails(here("deblur", jpeg, "--model", "huge"), "huge", "fast")
    fails(here("deblur", jpeg, "--model", jpeg.parent), "config.json")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "F.onnx").write_bytes(b"\0" * 1000)
    fails(here("deblur", jpeg, "--model", broken), "F.onnx", "sha256")


def test_impossible_steps(jpeg: Path, tiny_model: Path) -> None:
    fails(here("deblur", jpeg, "-m", tiny_model, "--steps", -1), "-1", "0 to 100")


def test_a_wrong_option_is_one_message_without_a_traceback() -> None:
    result = golf("deblur", "--frobnicate")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "frobnicate" in result.stderr


def test_an_interrupt_says_so(jpeg: Path) -> None:
    stop = "def stop(*a, **k): raise KeyboardInterrupt"
    code = f"import golfdeblur.cli as c, golfdeblur.model as d\n{stop}\nd.load = stop\nc.main()"
    command = [sys.executable, "-c", code, "deblur", str(jpeg)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("ratio", "words"), [(2.5, "2.5 times as fast as in float32: it gains"), (0.4, "no gain")])
def test_info_says_whether_fewer_bits_gain_here(monkeypatch: pytest.MonkeyPatch, ratio: float, words: str) -> None:
    assert bench.gain("onnxruntime-int8", 1, 0.0) > 0
    monkeypatch.setattr(bench, "gain", lambda name: ratio)
    assert f"{words} here" in here("info", "fast", "--speed").stdout


def test_info_shows_every_embedded_model() -> None:
    text = golf("info").stdout
    assert re.search(r"^Processor: .+ cores", text, re.MULTILINE)
    assert "fast (default)" in text
    assert "sha256" in text
    assert "Trained on" in text
    (config,) = [c for c in json.loads(golf("info", "--json").stdout) if c["name"] == "fast"]
    assert config["networks"]["F"]["sha256"] in text
    assert config["scores"]


def pairs_folder(tmp_path: Path, photo: np.ndarray) -> Path:
    for part, pixels in (("sharp", photo), ("blur", (photo.astype(int) // 2 + 60).astype(np.uint8))):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        for name in ("b.png", "a.png"):
            Image.fromarray(pixels).save(tmp_path / "pairs" / part / name)
    return tmp_path / "pairs"


def test_evaluate_writes_the_documented_json(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    folder, file = pairs_folder(tmp_path, photo), tmp_path / "scores.json"
    result = golf("evaluate", folder, "--model", tiny_model, "--steps", 1, "--json", file)
    assert result.returncode == 0, result.stderr
    scores = json.loads(file.read_text())
    assert {"model", "runtime", "steps", "images", "mean", "input_mean"} <= scores.keys()
    assert scores["runtime"] == "onnxruntime"
    assert [i["name"] for i in scores["images"]] == ["a.png", "b.png"]
    assert set(scores["mean"]["ssim"]) == {"gaussian-3d", "gaussian-2d", "uniform-7"}
    assert scores["mean"]["psnr"] == pytest.approx(scores["images"][0]["psnr"])
    assert scores["input_mean"]["psnr"] == scores["images"][0]["input"]["psnr"]
    assert len(result.stdout.splitlines()) == 3
    fails(here("evaluate", folder, "--model", tiny_model, "--json", file), "--force")


def test_a_self_ensemble_is_named_in_scores_and_tables(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    for part in ("blur", "sharp"):
        (tmp_path / "set" / part).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "set" / part / "a.png")
    file = tmp_path / "scores.json"
    done = golf("evaluate", tmp_path / "set", "-m", tiny_model, "--self-ensemble", "--blur", "scene", "--json", file)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["self_ensemble"] is True
    assert ", self-ensemble, scene |" in golf("table", file).stdout
    photo_file = tmp_path / "set/blur/a.png"
    fails(here("deblur", photo_file, "-m", tiny_model, "--self-ensemble", "--strokes"), "--strokes")
    out = tmp_path / "out.png"
    assert golf("deblur", photo_file, "-o", out, "-m", tiny_model, "--self-ensemble").returncode == 0
    expected = golfdeblur.load(tiny_model).deblur(photo, self_ensemble=True)
    assert np.array_equal(np.asarray(Image.open(out)), expected)


def test_a_best_shift_is_named_in_scores_and_tables(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    for part, pixels in (("sharp", photo), ("blur", np.roll(photo, (2, -3), (0, 1)))):
        (tmp_path / "set" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / part / "a.png")
    file = tmp_path / "scores.json"
    done = golf("evaluate", tmp_path / "set", "-m", tiny_model, "--best-shift", 4, "--json", file)
    assert done.returncode == 0, done.stderr
    scores = json.loads(file.read_text())
    assert scores["best_shift_px"] == 4
    assert scores["input_mean"]["psnr"] is None  # the same picture, found again
    assert scores["input_mean"]["ssim"]["gaussian-2d"] == pytest.approx(1)
    assert "| set, best shift to 4 px | 1 |" in golf("table", file).stdout
    fails(here("evaluate", tmp_path / "set", "-m", tiny_model, "--best-shift", 40), "40 px", "91 px", "131x90")


def test_table_goes_into_a_document(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    file, document = tmp_path / "scores.json", tmp_path / "README.md"
    golf("evaluate", pairs_folder(tmp_path, photo), "--model", tiny_model, "--json", file)
    lines = "Above, 3 × 3\n<!-- golf table: begin -->\nold\n<!-- golf table: end -->\nBelow\n"
    document.write_text(lines, encoding="utf-8")
    no_utf8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # as on Windows
    assert golf("table", file, "--into", document, env=os.environ | no_utf8).returncode == 0
    text = document.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.startswith("Above, 3 × 3\n")
    assert text.endswith("Below\n")
    psnr = json.loads(file.read_text())["mean"]["psnr"]
    assert f"| pairs | 2 | model | 3 | **{psnr:.2f}**" in text
    file.write_text(file.read_text().replace('"runtime": "onnxruntime"', '"runtime": "onnxruntime-int8"'))
    assert "| model, onnxruntime-int8 | 3 |" in golf("table", file).stdout
    fails(here("table", document), str(document), "golf evaluate --json")
    strange = tmp_path / "strange.json"
    strange.write_text(json.dumps(json.loads(file.read_text()) | {"mean": 3}))
    fails(here("table", strange), "golf evaluate --json")
    fails(here("table", file, "--into", file), "lacks the lines")
    fails(here("table", file, "--into", tmp_path / "no.md"), "no.md", "Markdown")


def test_evaluate_names_what_is_wrong(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    fails(here("evaluate", tmp_path, "-m", tiny_model), "blur/")
    assert "make it first" in refused("evaluate", tmp_path, "--json", tmp_path / "no" / "scores.json")
    folder = pairs_folder(tmp_path, photo)
    (folder / "blur" / "a.png").rename(folder / "blur" / "c.png")
    fails(here("evaluate", folder, "-m", tiny_model), "a.png", "c.png")
    (folder / "blur" / "c.png").rename(folder / "blur" / "a.png")
    Image.fromarray(photo[:50]).save(folder / "sharp" / "a.png")
    fails(here("evaluate", folder, "-m", tiny_model), "a.png", "131x90", "131x50")


def test_version_and_help() -> None:
    assert __version__ in golf("--version").stdout
    listed = golf("--help").stdout
    for command in ("deblur", "info", "evaluate", "table", "train", "export"):
        assert command in listed
        assert here(command, "--help").returncode == 0


def test_a_closed_pipe_is_no_error(jpeg: Path, tiny_model: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "golfdeblur", "deblur", str(jpeg), "-m", str(tiny_model)]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert "Traceback" not in result.stderr


def test_a_lost_interrupt_ends_the_loop_before_the_next_item() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[int] = []

    def lose_one() -> None:
        for item in progress(range(5), 5, "", quiet=True):
            seen.append(item)
            if item == 1:
                with contextlib.suppress(KeyboardInterrupt):  # as a destructor does
                    os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        lose_one()
    assert seen == [0, 1]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("given", "found"), [({}, "0"), ({"NUMPY_MADVISE_HUGEPAGE": "1"}, "1")])
def test_numpy_is_asked_for_small_pages_before_it_is_imported(
    given: dict[str, str], found: str, jpeg: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os\n"
        "real = builtins.__import__\n"
        "def spy(name, *rest, **more):\n"
        "    if name == 'numpy' and builtins.__import__ is spy:\n"
        "        builtins.__import__ = real\n"
        "        print('pages', os.environ.get('NUMPY_MADVISE_HUGEPAGE'), flush=True)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = spy\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "NUMPY_MADVISE_HUGEPAGE"}
    result = golf("deblur", jpeg, "-m", tiny_model, env=clean | given | {"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"pages {found}"
