"""Pictures through pipes, formats that are asked for, and addresses, which are refused."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur.cli.app import app
from golfdeblur.errors import ImageError
from golfdeblur.files import image

from .conftest import GUARD_S
from .test_cli import refused


def piped(content: bytes, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "golfdeblur", "deblur", *map(str, arguments)]
    return subprocess.run(command, input=content, capture_output=True, timeout=GUARD_S, check=False)


def test_from_pipe_to_pipe(jpeg: Path, tiny_model: Path) -> None:
    expected = golfdeblur.load(tiny_model).deblur(jpeg).read_bytes()
    result = piped(jpeg.read_bytes(), "-", "-o", "-", "-m", tiny_model, "--json")
    assert result.returncode == 0, result.stderr
    assert result.stdout == expected
    assert b'"output": "-"' in result.stderr
    made = Image.open(io.BytesIO(piped(jpeg.read_bytes(), "-", "--format", "png", "-m", tiny_model, "-q").stdout))
    assert (made.format, made.size) == ("PNG", Image.open(jpeg).size)
    nothing = piped(b"", "-", "-m", tiny_model)
    assert nothing.returncode == 1
    assert b"- is empty (0 bytes)" in nothing.stderr
    assert not nothing.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such pipes there")
def test_named_pipes_are_read_and_written(tmp_path: Path, jpeg: Path) -> None:
    given, out = tmp_path / "given.jpg", tmp_path / "out"
    os.mkfifo(given)
    os.mkfifo(out)
    threading.Thread(target=given.write_bytes, args=(jpeg.read_bytes(),), daemon=True).start()
    picture = image.read(given)
    assert np.array_equal(picture.colour, image.read(jpeg).colour)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(out.read_bytes()), daemon=True)
    reader.start()
    image.write(picture, out)
    reader.join()
    assert Image.open(io.BytesIO(got[0])).format == "JPEG"
    assert out.is_fifo()


@pytest.mark.parametrize(("wanted", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")])
def test_the_format_of_a_folder_can_be_asked_for(
    tmp_path: Path, photo: np.ndarray, tiny_model: Path, capsys: pytest.CaptureFixture, wanted: str, kind: str
) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    Image.fromarray(photo).save(album / "a.bmp")
    command = ["deblur", str(album), "-r", "--out-dir", str(out), "-m", str(tiny_model), "--steps", "0"]
    app([*command, "--format", wanted], standalone_mode=False)
    (made,) = (path for path in out.iterdir() if path.suffix != ".jsonl")
    assert Image.open(made).format == kind
    app(command, standalone_mode=False)  # as it is
    assert (out / "a.bmp").exists()
    capsys.readouterr()
    app([*command, "--format", wanted], standalone_mode=False)
    assert capsys.readouterr().out.startswith("0 deblurred, 1 done before")


def test_a_format_and_the_name_of_a_file_do_not_go_together(jpeg: Path, tiny_model: Path) -> None:
    app(["deblur", str(jpeg), "--format", "webp", "-m", str(tiny_model)], standalone_mode=False)
    assert jpeg.with_name("photo-deblurred.webp").exists()
    assert "leave --format out" in refused("deblur", jpeg, "-o", jpeg.with_name("x.png"), "--format", "webp")
    assert "use png, jpg, webp, tiff, keep" in refused("deblur", jpeg, "--format", "gif")
    assert "has no name" in refused("deblur", "-", "--out-dir", jpeg.parent)


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "ftp://host/a.jpg", "s3://bucket/a.jpg"])
def test_addresses_are_refused(tmp_path: Path, tiny_model: Path, address: str) -> None:
    assert "nothing is fetched here" in refused("deblur", address, "-o", tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="nothing is fetched here"):
        golfdeblur.load(tiny_model).deblur(address, output=tmp_path / "a.jpg")
    pytest.importorskip("av")
    from golfdeblur.footage import opened

    with pytest.raises(ImageError, match="nothing is fetched here"), opened(Path(address)):
        pass


def test_a_picture_is_not_printed_on_a_terminal(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(ImageError, match="nothing for a terminal"):
        image.check_writable(Path("-"), force=False)
