"""Bytes in, bytes out: what a path gives, without a file; and the server of examples/."""

import concurrent.futures
import importlib.util
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur.errors import ConfigError, ImageError
from golfdeblur.model import Model

SERVER = Path(__file__).parent.parent / "examples" / "server.py"


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return golfdeblur.load(tiny_model)


def saved(photo: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_bytes_are_those_of_a_file(model: Model, photo: np.ndarray, tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[270] = "a walkway"
    content = saved(photo, kind, exif=exif, icc_profile=None)
    path = tmp_path / f"photo.{kind.lower()}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Path(model.deblur(path)).read_bytes()
        assert model.deblur_bytes(content) == expected
        assert model.deblur_bytes(io.BytesIO(content)) == expected
        with path.open("rb") as file:
            assert model.deblur_bytes(file) == expected
    assert Image.open(io.BytesIO(expected)).getexif()[270] == "a walkway"


def test_another_format_and_strength(model: Model, photo: np.ndarray) -> None:
    content = saved(photo, "PNG")
    for name in ("webp", ".WEBP", "WEBP"):
        assert Image.open(io.BytesIO(model.deblur_bytes(content, name))).format == "WEBP"
    same = model.deblur_bytes(content, strength=0)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(same))), photo)
    assert Image.open(io.BytesIO(model.deblur_bytes(saved(photo, "GIF")))).format == "PNG"


def test_what_is_no_picture_is_said_in_one_sentence(model: Model, photo: np.ndarray) -> None:
    cut = saved(photo, "JPEG")[:-500]
    for wrong, words in ((b"", "empty"), (b"no picture", "not an image"), (cut, "cannot be read")):
        with pytest.raises(ImageError, match=words) as caught:
            model.deblur_bytes(wrong)
        assert str(caught.value).startswith("The picture")
    with pytest.raises(ImageError, match="too many pixels"):
        golfdeblur.load(model.weights.folder, max_pixels=100).deblur_bytes(saved(photo, "PNG"))
    for name in ("gif", "xyz", "heic"):
        with pytest.raises(ConfigError, match=f"'{name}' cannot be written"):
            model.deblur_bytes(saved(photo, "PNG"), name)


def test_the_server_of_the_examples(model: Model, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    spec = importlib.util.spec_from_file_location("server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    monkeypatch.setattr(server, "model", model)
    client, at_work, most = TestClient(server.app), [0], [0]
    deblur_bytes = Model.deblur_bytes

    def counted(*given: object, **how: object) -> bytes:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        made = deblur_bytes(*given, **how)
        at_work[0] -= 1
        return made

    monkeypatch.setattr(Model, "deblur_bytes", counted)
    photos = [saved(np.roll(photo, shift, axis=0), "PNG") for shift in range(8)]

    def posted(content: bytes, strength: float = 1.0):  # type: ignore[no-untyped-def]
        return client.post("/deblur", files={"photo": content}, params={"strength": strength})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(posted, photos))
    for content, answer in zip(photos, answers, strict=True):
        assert answer.content == deblur_bytes(model, content)
    assert most == [1]  # memory is bounded: one picture at a time, whoever asks
    assert posted(b"no picture").status_code == 422
    assert "not an image" in posted(b"no picture").json()["detail"]
    assert posted(photos[0], 2.0).status_code == 422
    monkeypatch.setattr(server, "LARGEST", 100)
    assert posted(photos[0]).status_code == 413
