"""Photos where fsspec reaches; with Ray where it is installed, in an environment of its own (docs/hosts.md)."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur.cli.app import app
from golfdeblur.errors import ConfigError, GolfError
from golfdeblur.model import Model

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return golfdeblur.load(tiny_model)


def encoded(photo: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind)
    return file.getvalue()


def filled(files, folder: str, photo: np.ndarray, count: int = 3) -> dict[str, bytes]:  # type: ignore[no-untyped-def]
    """Write some photos and one that is none, and return them by name."""
    content = {f"day {i % 2}/{i}.png": encoded(np.roll(photo[:32, :32], i, axis=0)) for i in range(count)}
    for name, data in {**content, "bad.jpg": b"no picture", "notes.txt": b"no photo"}.items():
        files.makedirs(f"{folder}/{name}".rpartition("/")[0], exist_ok=True)
        files.pipe_file(f"{folder}/{name}", data)
    return content


@pytest.fixture(params=["memory", "file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of an empty folder; of S3 in moto's server on this machine, where that is installed."""
    if request.param != "s3":
        yield f"{request.param}://{tmp_path}"
        return
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port())),
    ):
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").mkdir("photos")
    yield "s3://photos"
    server.stop()


def test_a_second_run_does_what_is_missing_or_changed(model: Model, photo: np.ndarray, root: str) -> None:
    from golfdeblur.bridges.cloud import NOTES, How, deblur

    files, url = fsspec.filesystem(root.partition("://")[0], use_listings_cache=False), root
    content = filled(files, f"{root}/in", photo)

    def run(how: How | None = None) -> dict[str, str]:
        rows = deblur(f"{url}/in", f"{url}/out", model=model, how=how)
        return {row["path"].partition("/in/")[2]: row["status"] for row in rows}

    first = run()
    assert set(first) == {*content, "bad.jpg"}
    assert "not an image" in first.pop("bad.jpg")
    assert set(first.values()) == {"deblurred"}
    for name, data in content.items():
        assert files.cat_file(f"{root}/out/{name}") == model.deblur_bytes(data)
    again = run()
    assert [again[name] for name in content] == ["done before"] * 3
    files.pipe_file(f"{root}/in/day 0/0.png", content["day 1/1.png"])
    files.rm_file(f"{root}/out/day 0/2.png")
    again = run()
    assert [again[name] for name in content] == ["deblurred", "done before", "deblurred"]
    assert files.cat_file(f"{root}/out/day 0/0.png") == model.deblur_bytes(content["day 1/1.png"])
    again = run(How(strength=0.5))
    assert [again[name] for name in content] == ["deblurred"] * 3
    files.rm_file(f"{root}/out/{NOTES}/day 1/1.png.json")
    files.pipe_file(f"{root}/out/day 1/1.png", b"of somebody else")
    assert "no result of ours" in run()["day 1/1.png"]
    assert files.cat_file(f"{root}/out/day 1/1.png") == b"of somebody else"
    note = json.loads(files.cat_file(f"{root}/out/{NOTES}/day 0/0.png.json"))
    assert note["settings"]["strength"] == 1.0


def test_places_that_cannot_be_used_are_said_in_one_sentence(tmp_path: Path) -> None:
    from golfdeblur.bridges.cloud import jobs_in

    files = fsspec.filesystem("memory")
    files.pipe_file(f"/{tmp_path.name}/a/b.png", b"1")
    files.pipe_file(f"/{tmp_path.name}/a/b.gif", b"1")
    for source, out, words in (
        (f"memory://{tmp_path.name}/a", f"memory://{tmp_path.name}/a", "into itself"),
        (f"memory://{tmp_path.name}/a", "memory://out", "both be written"),
        (f"memory://{tmp_path.name}/none", "memory://out", "no images"),
        ("nothing://name:secret@host/in", "memory://out", "cannot be reached"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            jobs_in(source, out)
        assert "secret" not in str(caught.value)


def test_the_command(tiny_model: Path, photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = filled(fsspec.filesystem("memory"), f"/{tmp_path.name}/in", photo)
    places = [f"memory://{tmp_path.name}/in", f"memory://{tmp_path.name}/out"]
    with pytest.raises(GolfError, match="1 photos failed"):
        app(["cloud", *places, "--model", str(tiny_model), "--json"], standalone_mode=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["status"] for row in rows)[-3:] == ["deblurred"] * len(content)
    assert {"path", "status", "seconds"} == set(rows[0])


def test_ray_gives_what_one_process_gives(tiny_model: Path, photo: np.ndarray, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from golfdeblur.bridges.ray import deblur

    content = filled(fsspec.filesystem("file"), f"{tmp_path}/in", photo, 6)
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        rows = list(deblur(f"file://{tmp_path}/in", f"file://{tmp_path}/out", model=str(tiny_model)))
    finally:
        ray.shutdown()
    assert sorted(row["status"] for row in rows)[-6:] == ["deblurred"] * 6
    assert len(rows) == 7
    model = golfdeblur.load(tiny_model)
    for name, data in content.items():
        assert (tmp_path / "out" / name).read_bytes() == model.deblur_bytes(data)
