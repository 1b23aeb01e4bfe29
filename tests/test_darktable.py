"""darktable cannot be installed here: the package is read by the rules of its source, named in bridges/darktable.py."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import golfdeblur
from golfdeblur import offline
from golfdeblur.bridges.darktable import TILES_PX, to_dtmodel
from golfdeblur.cli.app import app
from golfdeblur.weights import find_weights

from .test_cli import refused

OVERLAP = 64


def to_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-9) ** (1 / 2.4) - 0.055)


def mirror(start: int, count: int, length: int) -> np.ndarray:
    place = np.abs(np.arange(start, start + count))
    return np.clip(np.where(place >= length, 2 * length - 2 - place, place), 0, length - 1)


def process_tiled(session: Any, linear: np.ndarray, side: int) -> np.ndarray:
    """Put linear sRGB (H, W, 3) through the model as dt_restore_process_tiled and dt_restore_run_patch do."""
    height, width = linear.shape[:2]
    step, out = side - 2 * OVERLAP, np.empty_like(linear)
    for y in range(0, height, step):
        for x in range(0, width, step):
            tile = linear[mirror(y - OVERLAP, side, height)][:, mirror(x - OVERLAP, side, width)]
            given = to_srgb(np.minimum(tile, 1)).astype(np.float32).transpose(2, 0, 1)[None]
            made = to_linear(session.run(None, {session.get_inputs()[0].name: given})[0][0]).transpose(1, 2, 0)
            part = out[y : y + step, x : x + step]
            part[:] = made[OVERLAP:, OVERLAP:][: part.shape[0], : part.shape[1]]
    return out


def opened(package: bytes, side: int) -> Any:
    """Load the model as dt_restore_load_denoise does: model.onnx, height and width fixed to the side of a tile."""
    files = zipfile.ZipFile(io.BytesIO(package))
    own = files.namelist()[0].partition("/")[0]
    onnxruntime = offline.onnxruntime()
    options = onnxruntime.SessionOptions()
    for dimension in ("height", "width"):
        options.add_free_dimension_override_by_name(dimension, side)
    return onnxruntime.InferenceSession(files.read(f"{own}/model.onnx"), options, providers=["CPUExecutionProvider"])


def test_the_package_is_as_darktable_reads_it() -> None:
    files = zipfile.ZipFile(io.BytesIO(to_dtmodel(find_weights("fast"))))
    config = json.loads(files.read("denoise-golfdeblur-fast/config.json"))
    # The top folder is the id; id and name must be there, task and backend be known, sizes be whole numbers.
    assert sorted(files.namelist()) == [f"{config['id']}/config.json", f"{config['id']}/model.onnx"]
    assert config["name"]
    assert (config["task"], config["backend"], config["num_inputs"]) == ("denoise", "onnx", 1)
    assert config["attributes"]["input_sizes"] == sorted(TILES_PX, reverse=True)
    assert all(isinstance(value, str) for value in config["model_card"].values())


def test_it_gives_what_the_command_gives(photo: np.ndarray, tiny_model: Path) -> None:
    picture = np.tile(photo, (5, 4, 1))[:430, :500]  # two tiles by two
    session = opened(to_dtmodel(find_weights(tiny_model)), 512)
    assert [tuple(i.shape) for i in (*session.get_inputs(), *session.get_outputs())] == [(1, 3, 512, 512)] * 2
    made = 255 * to_srgb(process_tiled(session, to_linear(picture / 255), 512))
    own = golfdeblur.load(tiny_model).deblur(picture).astype(float)
    inside = np.abs(made - own)[32:-32, 32:-32]  # the border is mirrored in another way
    assert inside.max() < 1


def test_the_command_exports_it(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "golf.dtmodel"
    app(["export", str(tiny_model), "--darktable", str(file), "--strength", "0.5"], standalone_mode=False)
    assert file.read_bytes() == to_dtmodel(find_weights(tiny_model), strength=0.5)
    assert ".dtmodel" in refused("export", "fast", "--darktable", tmp_path / "x.zip")
