"""One ONNX file gives what the command gives, in the runtimes and under the rules of the programs that load it."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

import golfdeblur
from golfdeblur import offline
from golfdeblur.bridges.single import to_single
from golfdeblur.cli.app import app
from golfdeblur.files.kinds import as_picture
from golfdeblur.runtimes import openvino as openvino_runtime
from golfdeblur.weights import find_weights

from .test_cli import refused

SIZES = [(1, 1), (1, 50), (50, 1), (7, 9), (32, 32), (65, 127)]


def planes(samples: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(samples.transpose(2, 0, 1)[None])


def run(content: bytes, y: np.ndarray, strength: float | None = None) -> np.ndarray:
    session = offline.onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    given = {"input": planes(y)} | ({} if strength is None else {"strength": np.array([strength], np.float32)})
    return session.run(None, given)[0][0].transpose(1, 2, 0)


@pytest.mark.parametrize(("name", "steps"), [("fast", 1), ("tiny", 0), ("tiny", 3)])
def test_it_gives_what_the_command_gives(name: str, steps: int, tiny_model: Path) -> None:
    folder = str(tiny_model) if name == "tiny" else name
    model, content = golfdeblur.load(folder), to_single(find_weights(folder), steps=steps, strength=1)
    rng = np.random.default_rng(0)
    for size in SIZES:
        y = rng.random((*size, 3), np.float32)
        assert np.abs(run(content, y) - model.deblur(y, steps=steps)).max() < 0.01 / 255


def test_a_model_with_instance_norm() -> None:
    y = np.random.default_rng(0).random((17, 30, 3), np.float32)
    made = run(to_single(find_weights("paper"), steps=1, strength=1), y)
    assert np.abs(made - golfdeblur.load("paper").deblur(y, steps=1)).max() < 0.01 / 255


def test_strokes_end_where_the_command_ends_them(photo: np.ndarray, tiny_model: Path) -> None:
    y, model, made = photo.astype(np.float32) / 255, golfdeblur.load(tiny_model), []
    for stop_below in (0.0, 0.5):
        restored = model.restore(as_picture(y)[0], steps=3, stop_below=stop_below)
        made.append(run(to_single(find_weights(tiny_model), strength=1, stop_below=stop_below), y))
        assert np.abs(made[-1] - restored.picture.colour).max() < 0.01 / 255
    assert np.abs(made[0] - made[1]).max() > 0.5 / 255  # two strokes of three were left out


@pytest.mark.parametrize("strength", [0, 0.3, 1])
def test_strength_is_an_input_or_fixed(photo: np.ndarray, tiny_model: Path, strength: float) -> None:
    y = photo.astype(np.float32) / 255
    free, fixed = (to_single(find_weights(tiny_model), strength=fixed) for fixed in (None, strength))
    made = run(free, y, strength)
    assert np.abs(made - golfdeblur.load(tiny_model).deblur(y, strength=strength)).max() < 0.01 / 255
    assert np.array_equal(run(fixed, y), made)
    assert strength or np.array_equal(made, y)


def test_openvino_gives_the_same(photo: np.ndarray) -> None:
    pytest.importorskip("openvino")
    content = to_single(find_weights("fast"), steps=1)
    core = openvino_runtime.core()
    compiled = core.compile_model(core.read_model(content, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in ((1, 1), (33, 70)):
        y = photo[: size[0], : size[1]].astype(np.float32) / 255
        made = compiled([planes(y), np.array([0.5], np.float32)])[0][0].transpose(1, 2, 0)
        assert np.abs(made - run(content, y, 0.5)).max() < 0.1 / 255


@pytest.mark.parametrize("side", [16, 64, 256, 512])
def test_shapes_are_inferred_as_chainner_infers_them(side: int) -> None:
    # chaiNNer fixes the input's size, infers strictly and reads the output's size (its ModelShapeInference).
    model = onnx.load_model_from_string(to_single(find_weights("fast"), strength=1))
    assert len(model.graph.input) == len(model.graph.output) == 1
    for axis, length in enumerate((1, 3, side, side)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    assert [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim] == [1, 3, side, side]


def test_the_file_says_what_it_is() -> None:
    weights = find_weights("fast")
    model = onnx.load_model_from_string(to_single(weights))
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["sha256_F"] == hashlib.sha256(weights.f.path.read_bytes()).hexdigest()
    assert (notes["license"], notes["version"], notes["steps"]) == ("Apache-2.0", golfdeblur.__version__, "3")
    assert [entry.version for entry in model.opset_import] == [13]
    assert model.ByteSize() < 3e6  # the weights are there once


def test_the_command_exports_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "golf.onnx"
    app(["export", "fast", "--single", str(file), "--steps", "1", "--strength", "0.5"], standalone_mode=False)
    assert "at most 1 corrections" in capsys.readouterr().out
    assert file.read_bytes() == to_single(find_weights("fast"), steps=1, strength=0.5)
    assert "exists already" in refused("export", "fast", "--single", file)
    assert ".onnx" in refused("export", "fast", "--single", tmp_path / "golf.pb")
    assert "unknown" in refused("export", "huge", "--single", tmp_path / "x.onnx")
    assert "0 to 100" in refused("export", "fast", "--single", tmp_path / "x.onnx", "--steps", "101")
    assert "allowed" in refused("export", "fast", "--single", tmp_path / "x.onnx", "--strength", "2")
    assert "One file" in refused("export", "fast", "paper", "--single", tmp_path / "x.onnx")
    assert "-o" in refused("export", "fast")
    assert [path.name for path in tmp_path.iterdir()] == ["golf.onnx"]
