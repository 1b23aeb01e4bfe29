import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import golfdeblur
from golfdeblur import metrics, offline, runtimes
from golfdeblur.engine.runner import Runner
from golfdeblur.errors import WeightsError
from golfdeblur.learning import checkpoint, export, golf, int8, networks, sums
from golfdeblur.weights import EMBEDDED

from .test_cli import fails
from .test_cli import golf as elsewhere
from .test_cli import here as run


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_onnx_agrees_with_torch(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    for letter in ("f", "g"):
        module = getattr(golf.GolfOptimizer.preset(name), letter).eval()
        last = [p for n, p in module.named_parameters() if n.endswith("weight")][-1]
        torch.nn.init.normal_(last, std=0.01)  # away from the identity
        content = export.to_onnx(module, tmp_path / "net.onnx")
        assert export.check_parity(module, content) >= 90


@pytest.mark.parametrize("scales", [2, 3, 4])
def test_the_runtime_makes_the_scales_that_torch_makes(tmp_path: Path, scales: int) -> None:
    torch.manual_seed(0)
    module = golf.Propagator(networks.ResidualUNet((4, 8), (1, 1), scales=scales)).eval()
    torch.nn.init.normal_(module.residual.tail[0].weight, std=0.1)
    content = export.to_onnx(module, tmp_path / "net.onnx")
    assert export.check_parity(module, content) >= 90
    module.residual._many_scales = lambda x, _: module.residual._one_scale(torch.cat([x, torch.zeros_like(x)], 1))
    with pytest.raises(WeightsError, match="differs from torch"):
        export.check_parity(module, content)


def test_networks_of_8_bits_are_close_and_small(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for letter in ("F", "G"):
        network = networks.ResidualUNet((8, 16), (1, 1), scales=2 if letter == "F" else 1)
        torch.nn.init.normal_(network.tail[0].weight, std=0.02)
        checkpoint.save_network(tmp_path / f"{letter}.safetensors", network, {})
    (tmp_path / "photos").mkdir()
    arguments = ["export", tmp_path, "-o", tmp_path / "model", "--calibrate", tmp_path / "photos"]
    fails(run(*arguments), "no photos")
    assert not (tmp_path / "model").exists()
    photo = np.random.default_rng(0).integers(0, 256, (90, 131, 3), np.uint8)  # more than the check will ask for
    Image.fromarray(photo).save(tmp_path / "photos" / "photo.png")
    result = elsewhere(*arguments)  # libraries write to stderr past Python
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    plain, eight = (golfdeblur.load(tmp_path / "model", runtime=r) for r in ("onnxruntime", "onnxruntime-int8"))
    assert eight.f.scales == 2
    made, reference = eight.deblur(photo), plain.deblur(photo)
    assert 45 < metrics.psnr(made, reference) < 70  # close, and not the same file twice
    file = plain.weights.f
    assert file.int8_path is not None
    assert file.int8_path.stat().st_size < file.path.stat().st_size
    file.int8_path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"F\.int8\.onnx is damaged"):
        golfdeblur.load(tmp_path / "model", runtime="onnxruntime-int8")


@pytest.mark.parametrize("between", [[], ["Reshape", "Transpose", "Reshape"]])  # as a pixel-shuffle is exported
def test_sums_of_8_bits_round_alike_in_every_runtime(between: list[str]) -> None:
    constants = {"a": 1.0, "b": 1.0, "c": 2.0}  # every odd sum lies on an edge

    def node(kind: str, name: str, given: str, made: str) -> onnx.NodeProto:
        return onnx.helper.make_node(kind, [given, f"{name}_scale", f"{name}_zero"], [made])

    moves = [onnx.helper.make_node(kind, [f"first{i}"], [f"first{i + 1}"]) for i, kind in enumerate(between)]
    graph = onnx.helper.make_graph(
        [
            node("DequantizeLinear", "a", "a", "first0"),
            node("DequantizeLinear", "b", "b", "second"),
            *moves,
            onnx.helper.make_node("Add", [f"first{len(moves)}", "second"], ["sum"]),
            node("QuantizeLinear", "c", "sum", "c"),
        ],
        "sum",
        [],
        [],
        [
            onnx.numpy_helper.from_array(np.array(value, dtype), f"{name}_{what}")
            for name, scale in constants.items()
            for what, value, dtype in (("scale", scale, np.float32), ("zero", 128, np.uint8))
        ],
    )
    assert sums._near_an_edge([(1.0, 128), (1.0, 128)], 2.0, 128)
    sums.keep_sums_off_edges(graph)
    (scale,) = (float(onnx.numpy_helper.to_array(t)) for t in graph.initializer if t.name == "c_scale")
    assert 2 < scale < 2.02
    a, b = np.mgrid[-128:128, -128:128]
    assert np.abs((a + b) / scale % 1 - 0.5).min() >= sums.EDGE


def test_a_range_of_8_bits_gives_up_what_is_rare() -> None:
    def found(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
        return int8.best_range(low, high, np.histogram(values, int8.BINS, (low, high))[0].astype(float))

    rng = np.random.default_rng(0)
    assert found(rng.uniform(-1, 1, 100_000), -1, 1) == (-1, 1)  # nothing is rare
    low, high = found(np.concatenate([rng.normal(0, 1, 1_000_000), [-9, 9]]), -9, 9)
    assert low == pytest.approx(-6, abs=1.2)
    assert high == pytest.approx(6, abs=1.2)
    assert found(np.concatenate([rng.uniform(0, 1, 10_000), [1.5]]), 0, 1.5)[0] == 0


def test_8_bits_are_spent_on_what_a_relu_lets_through_and_none_on_the_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = golf.Corrector(networks.ResidualUNet((8,), (1,))).eval()
    content = export.to_onnx(module, tmp_path / "G.onnx")  # its residual is nothing
    photo = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    eight, _ = int8.to_int8(content, tmp_path / "G.int8.onnx", [photo], multiple_px=2, scales=1)
    assert np.array_equal(runtimes.open_network("onnxruntime", eight)(photo), photo)
    graph = onnx.load_from_string(eight).graph
    assert "Relu" not in {node.op_type for node in graph.node}  # the bytes end at zero instead


@pytest.mark.parametrize("letter", ["F", "G"])
def test_the_embedded_networks_of_8_bits_round_alike(letter: str) -> None:
    model = onnx.load(str(EMBEDDED / "fast" / f"{letter}.int8.onnx"))
    before = model.graph.SerializeToString(deterministic=True)
    sums.keep_sums_off_edges(model.graph)
    assert model.graph.SerializeToString(deterministic=True) == before


def test_even_channels_change_no_output_and_even_them_out() -> None:
    torch.manual_seed(0)
    network = networks.ResidualUNet((8, 12), (2, 1), scales=2).eval()
    torch.nn.init.normal_(network.tail[0].weight, std=0.1)
    with torch.no_grad():  # channels that differ by up to 30 times
        network.head.weight *= torch.logspace(0, 1.5, 8)[:, None, None, None]
        network.encoders[0][0].second.weight *= torch.logspace(0, 1.5, 8)[:, None, None, None]
    photo = np.random.default_rng(0).random((1, 3, 45, 70), np.float32)
    even = int8.even_channels(network, [photo])
    x = torch.rand(1, 6, 32, 48)
    with torch.no_grad():
        assert torch.allclose(even(x), network(x), rtol=1e-3, atol=1e-4 * float(network(x).abs().max()))
        spread = [n.encoders[0](n.head(x)).square().mean((0, 2, 3)).log().std() for n in (network, even)]
    assert spread[1] < 0.75 * spread[0]


def test_the_step_of_8_bits_is_as_long_as_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = golf.Corrector(networks.ResidualUNet((8,), (1,))).eval()
    torch.nn.init.normal_(module.residual.tail[0].weight, std=0.02)
    content = export.to_onnx(module, tmp_path / "G.onnx")
    model = onnx.load_from_string(content)
    (tail,) = (t for t in model.graph.initializer if t.name == "residual.tail.0.weight")
    tail.CopyFrom(onnx.numpy_helper.from_array(0.8 * onnx.numpy_helper.to_array(tail), tail.name))
    photo = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    (wanted,) = offline.onnxruntime().InferenceSession(content).run(None, {"x": photo})

    def restored(given: np.ndarray) -> np.ndarray:
        return offline.onnxruntime().InferenceSession(model.SerializeToString()).run(None, {"x": given})[0]

    int8.match_steps(model.graph, Runner(restored, multiple_px=2, overlap_px=None), [photo], [wanted])
    lengths = [np.vdot(wanted - photo, made - photo) for made in (restored(photo), wanted)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("letter", ["F", "G"])
def test_the_float32_sums_of_the_embedded_networks_of_8_bits_are_exact(letter: str, which: int) -> None:
    model = onnx.load(str(EMBEDDED / "fast" / f"{letter}.int8.onnx"))
    convolution = [node for node in model.graph.node if node.op_type == "Conv"][which]
    names = [convolution.input[0], convolution.output[0]]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = offline.onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[0].shape[1]
    noise = np.random.default_rng(0).random((1, channels, 64, 96), np.float32)  # more than a photo moves
    noise[:, 3:] -= 0.5
    seen, made = (torch.from_numpy(x) for x in session.run(names, {"x": noise}))
    tensors = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
    weight, bias = (tensors[name].double() for name in convolution.input[1:3])
    stride = seen.shape[2] // made.shape[2]  # the first one makes cells of pixels
    in_float64 = torch.nn.functional.conv2d(seen.double(), weight, bias, stride, padding=weight.shape[2] // 3)
    assert made.std() > 1e-4
    assert torch.equal(made.double(), in_float64)  # in any order, with any rounding of the sums


def test_a_network_that_differs_is_refused(tmp_path: Path) -> None:
    model = golf.GolfOptimizer.preset("fast")
    content = export.to_onnx(model.g.eval(), tmp_path / "net.onnx")
    torch.nn.init.normal_(model.g.residual.tail[0].weight, std=0.1)
    with pytest.raises(WeightsError, match="differs from torch"):
        export.check_parity(model.g, content)


def test_the_command_writes_a_model_folder(tmp_path: Path) -> None:
    for letter in ("f", "g"):
        network = networks.build(getattr(networks.PRESETS["fast"], letter))
        checkpoint.save_network(tmp_path / f"{letter}.safetensors", network, {"steps": 1})
    scores = {
        "data": "pairs",
        "model": "m",
        "steps": 3,
        "images": [{}, {}],
        "mean": {"psnr": 2.0},
        "input_mean": {"psnr": 1.0},
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    arguments = [
        "export",
        tmp_path / "f.safetensors",
        tmp_path / "g.safetensors",
        "-o",
        tmp_path / "model",
        "--name",
        "mine",
    ]
    result = run(*arguments, "--trained-on", "two photos", "--scores", tmp_path / "scores.json")
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["scores"] == {"pairs": {"psnr": 2.0, "input_psnr": 1.0, "images": 2, "steps": 3}}
    assert json.loads((tmp_path / "model" / "training.json").read_text())["F"] == {"steps": 1}
    assert "training" not in config["networks"]["F"]
    shown = run("info", tmp_path / "model").stdout
    assert "two photos" in shown
    assert "+1.00" in shown
    config["scores"]["pairs"]["input_psnr"] = None  # sharp inputs, equal to what they are compared with
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert "pairs: 2.00 dB, input equal to the sharp, 2 images" in run("info", tmp_path / "model").stdout
    (tmp_path / "scores.json").write_text("{}")
    fails(run(*arguments, "--scores", tmp_path / "scores.json"), "lacks")
    fails(run("export", tmp_path / "none", tmp_path / "none", "-o", tmp_path / "x"), "does not exist")


def test_f_alone_is_a_model(tmp_path: Path, jpeg: Path) -> None:
    f = networks.build(networks.PRESETS["fast"].f)
    checkpoint.save_network(tmp_path / "F.safetensors", f, {})
    result = run("export", tmp_path, "-o", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert "F as ONNX" in result.stdout
    fails(run("export", tmp_path, "-o", tmp_path / "model"), "exists already", "--force")
    assert run("export", tmp_path, "-o", tmp_path / "model", "--force").returncode == 0
    assert (
        "1 step and 0 corrections"
        in run("deblur", jpeg, "-o", tmp_path / "o.png", "-m", tmp_path / "model", "-v").stdout
    )
    fails(
        run("export", tmp_path / "model" / "..", "-o", tmp_path / "m", "--scores", tmp_path / "none"), "cannot be read"
    )


def test_g_goes_with_its_own_f(tmp_path: Path) -> None:
    f, g = (networks.build(spec) for spec in (networks.PRESETS["fast"].f, networks.PRESETS["fast"].g))
    checkpoint.save_network(tmp_path / "F.safetensors", f, {})
    checkpoint.save_network(tmp_path / "G.safetensors", g, {"propagator_sha256": "another"})
    with pytest.raises(WeightsError, match="behind another F"):
        export.export(*export.find_networks([tmp_path]), tmp_path / "model", name="m", notes={})
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"no F\.safetensors"):
        export.find_networks([tmp_path / "empty"])
    with pytest.raises(WeightsError, match="3 files"):
        export.find_networks([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
