"""What is left out, skipped or refused is said; nothing ends a folder."""

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import golfdeblur
from golfdeblur.album import MANIFEST, file_hash, jobs_in
from golfdeblur.cli import files
from golfdeblur.errors import ImageError, LeftOutWarning
from golfdeblur.files import image
from golfdeblur.model import Model

from .test_cli import fails, golf

as_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="the superuser may read everything")


@pytest.fixture
def captioned(tmp_path: Path, photo: np.ndarray) -> Path:
    """A PNG with a text, which a TIFF cannot hold here."""
    texts = PngInfo()
    texts.add_text("Title", "On the beach")
    path = tmp_path / "captioned.png"
    Image.fromarray(photo).save(path, pnginfo=texts)
    return path


def test_what_is_left_out_is_printed_and_in_the_report(captioned: Path, tiny_model: Path) -> None:
    out = captioned.with_suffix(".tif")
    assert "Left out: the texts, which a file" in golf("deblur", captioned, "-o", out, "-m", tiny_model).stdout
    report = json.loads(golf("deblur", captioned, "-o", out, "-m", tiny_model, "--force", "--json").stdout)
    assert [words.split(",")[0] for words in report["left_out"]] == ["the texts"]
    assert "Left out" not in golf("deblur", captioned, "-m", tiny_model).stdout


def test_the_library_warns_of_what_is_left_out(captioned: Path, tiny_model: Path) -> None:
    model = golfdeblur.load(tiny_model)
    with pytest.warns(LeftOutWarning, match=r"captioned\.png: left out: the texts"):
        model.deblur(captioned, output=captioned.with_suffix(".tif"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.deblur(captioned)


def test_the_limit_of_pixels_can_be_moved(jpeg: Path, tiny_model: Path) -> None:
    refused = golf("deblur", jpeg, "-m", tiny_model, "--max-pixels", 10_000)
    fails(refused, "too many pixels (131 x 90 = 11,790)", "--max-pixels")
    assert golf("deblur", jpeg, "-m", tiny_model, "--max-pixels", 11_790).returncode == 0
    with pytest.raises(ImageError, match="at most 10,000"):
        golfdeblur.load(tiny_model, max_pixels=10_000).deblur(jpeg, overwrite=True)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_that_a_pipe_cannot_print_end_nothing(
    tmp_path: Path, photo: np.ndarray, tiny_model: Path, encoding: str
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for name in ("写真.png", "é.png", "z.png", os.fsdecode(b"\xff.png")):
        Image.fromarray(photo).save(album / name)
    (album / "壊れ.png").write_bytes(b"no image")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = golf(
        "deblur", album, "-r", "--out-dir", tmp_path / "out", "-m", tiny_model, env=environment, encoding=encoding
    )
    assert "Traceback" not in result.stderr
    assert "1 failed, as named above; 4 deblurred" in result.stderr
    assert r"\u5199\u771f.png" in result.stdout


@pytest.mark.parametrize("error", [AttributeError("no tag"), RuntimeError("library"), MemoryError(), OSError(28, "No")])
def test_whatever_one_file_raises_it_is_named_and_the_next_is_done(
    tmp_path: Path,
    photo: np.ndarray,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    error: Exception,
) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(tmp_path / name)
    restore = Model.restore

    def failing(model: Model, picture: object, **how: object) -> object:
        if not (tmp_path / "out" / "failed").exists():
            (tmp_path / "out" / "failed").touch()
            raise error
        return restore(model, picture, **how)

    monkeypatch.setattr(Model, "restore", failing)
    from golfdeblur.cli.app import app

    with pytest.raises(golfdeblur.GolfError, match=r"1 failed, as named above; 1 deblurred"):
        app(
            ["deblur", str(tmp_path), "-r", "--out-dir", str(tmp_path / "out"), "-m", str(tiny_model)],
            standalone_mode=False,
        )
    assert "a.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "b.png").exists()


def test_the_recorded_hash_is_of_what_was_read(
    tmp_path: Path, photo: np.ndarray, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album, out, other = tmp_path / "album", tmp_path / "out", tmp_path / "other.png"
    album.mkdir()
    Image.fromarray(photo).save(album / "a.png")
    Image.fromarray(255 - photo).save(other)
    read_digest, restore = file_hash(album / "a.png"), Model.restore

    def replaced(model: Model, picture: object, **how: object) -> object:
        os.replace(other, album / "a.png")
        return restore(model, picture, **how)

    monkeypatch.setattr(Model, "restore", replaced)
    from golfdeblur.cli.app import app

    command = ["deblur", str(album), "-r", "--out-dir", str(out), "-m", str(tiny_model)]
    app(command, standalone_mode=False)
    assert json.loads((out / MANIFEST).read_text().splitlines()[-1])["input_sha256"] == read_digest
    monkeypatch.undo()
    app(command, standalone_mode=False)
    assert np.asarray(Image.open(out / "a.png")).mean() == pytest.approx((255 - photo).mean(), abs=5)


def test_a_file_that_is_written_to_while_it_is_read_is_refused(jpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = image.file_digest

    def growing(file: object) -> str:
        with jpeg.open("ab") as more:
            more.write(b"more")
        return digest(file)

    monkeypatch.setattr(image, "file_digest", growing)
    with pytest.raises(ImageError, match="changed while it was read"):
        image.read(jpeg)


def test_a_kept_file_is_copied_only_as_it_was_read(tmp_path: Path, jpeg: Path) -> None:
    with pytest.raises(ImageError, match="changed after it was read"):
        image.copy(jpeg, tmp_path / "copy.jpg", sha256="0" * 64)
    assert not (tmp_path / "copy.jpg").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_are_not_followed_are_named(tmp_path: Path, jpeg: Path) -> None:
    album = tmp_path / "album"
    (album / "real").mkdir(parents=True)
    (album / "real" / "a.jpg").write_bytes(jpeg.read_bytes())
    (album / "linked").symlink_to(album / "real", target_is_directory=True)
    (album / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (album / "also.jpg").symlink_to(jpeg)
    found = jobs_in(album, tmp_path / "out")
    assert [job.name for job in found.jobs] == ["also.jpg", "real/a.jpg"]
    assert [sentence.split(";")[0] for sentence in found.refused] == [
        f"{album / 'linked'} is a link to a folder, which is not followed",
        f"{album / 'gone.jpg'} is a link to nothing",
    ]


@as_root
def test_folders_that_cannot_be_read_are_named(tmp_path: Path, jpeg: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    try:
        found = jobs_in(tmp_path, tmp_path / "out")
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert [job.name for job in found.jobs] == [jpeg.name]
    assert "closed cannot be looked into" in found.refused[0]


def test_what_a_failure_is_called() -> None:
    said = files.failure(Path("a.jpg"), KeyError("tag\n  7"))
    assert said == "a.jpg could not be done (KeyError: 'tag\\n 7'); please report it."
