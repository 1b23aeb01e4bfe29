import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import golfdeblur
from golfdeblur import offline, runtimes
from golfdeblur.engine.runner import Runner, open_runner
from golfdeblur.errors import ConfigError
from golfdeblur.runtimes import Session, onnx
from golfdeblur.runtimes import openvino as openvino_runtime
from golfdeblur.weights import EMBEDDED, find_weights

from .conftest import GUARD_S

CPU_RUNTIMES = ["onnxruntime", "openvino", "torch"]
ODD = (1, 3, 75, 131)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).random(ODD, np.float32)


@pytest.fixture(scope="module")
def reference(x: np.ndarray) -> np.ndarray:
    """The embedded F in torch float32."""
    return open_runner(find_weights("fast").f, "torch")(x)


@pytest.mark.parametrize("name", CPU_RUNTIMES)
@pytest.mark.parametrize("letter", ["F", "G"])
def test_every_runtime_computes_the_same(name: str, letter: str, x: np.ndarray) -> None:
    file = find_weights("fast").networks[letter]
    out = open_runner(file, name)(x)
    expected = open_runner(file, "torch")(x)
    assert out.shape == ODD
    assert np.abs(np.rint(255 * out) - np.rint(255 * expected)).max() <= 1
    assert np.abs(out - expected).max() < 1e-4


def test_openvino_gets_operations_that_it_computes_fast(x: np.ndarray) -> None:
    openvino = offline.openvino()
    folder, core, x = EMBEDDED / "fast", openvino_runtime.core(), x[:, :, :72, :128]
    for letter, shuffles, given in (("F", 3, np.concatenate([x, 0.1 * x], axis=1)), ("G", 2, x)):
        model = core.read_model(folder / f"{letter}.onnx")
        before = core.compile_model(model.clone(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)[0]
        made = openvino_runtime.with_faster_operations(model, openvino.opset13)
        kinds = [node.get_type_name() for node in made.get_ordered_ops()]
        assert kinds.count("DepthToSpace") == shuffles
        assert "Transpose" not in kinds
        after = core.compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)[0]
        assert after.shape == x.shape
        assert np.abs(after - before).max() < 1e-6


@pytest.mark.parametrize("name", ["openvino-bf16", "torch-bf16", "onnxruntime-int8"])
def test_reduced_precision_agrees_or_is_refused(name: str, x: np.ndarray, reference: np.ndarray) -> None:
    try:
        runner = open_runner(find_weights("fast").f, name)
    except ConfigError as error:
        assert re.search(f"{runtimes.REDUCED[name]:.0f} are needed|cannot compute here", str(error))  # noqa: PT017
        return
    assert -10 * np.log10(np.square(runner(x) - reference).mean()) >= runtimes.REDUCED[name] - 5


def test_a_runtime_that_is_too_inexact_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "agreement_db", lambda *a, **k: 49.0)
    with pytest.raises(ConfigError, match=r"'torch-bf16' agrees with float32 only to 49.0 dB"):
        golfdeblur.load(tiny_model, runtime="torch-bf16")
    golfdeblur.load(tiny_model, runtime="torch")
    with pytest.raises(ConfigError, match=r"has no 8-bit networks; export it with --calibrate"):
        golfdeblur.load(tiny_model, runtime="onnxruntime-int8")


def test_agreement_is_a_psnr() -> None:
    found = runtimes.agreement_db(lambda x: x + np.float32(0.01), lambda x: x, multiple_px=8)
    assert found == pytest.approx(40, abs=0.01)


def test_unknown_and_missing_runtimes_say_what_to_do(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="openvino, openvino-bf16, torch"):
        golfdeblur.load(tiny_model, runtime="tensorrt")
    with pytest.raises(ConfigError, match="onnxruntime-gpu"):
        golfdeblur.load(tiny_model, runtime="cuda")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"golfdeblur\[openvino\]"):
        golfdeblur.load(tiny_model, runtime="openvino")
    assert runtimes.resolve("auto") == "onnxruntime"


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_gpu_that_does_not_start_is_named_and_auto_goes_on(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    # Installed, but without its libraries: onnxruntime itself would go on with the processor.
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    assert runtimes.resolve("auto") == "cuda"
    with pytest.raises(ConfigError, match="'cuda' is installed, but does not start here"):
        golfdeblur.load(tiny_model, runtime="cuda")
    assert golfdeblur.load(tiny_model).runtime == "onnxruntime"


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("name", CPU_RUNTIMES)
def test_every_runtime_says_that_memory_ran_out(name: str) -> None:
    weights = find_weights("fast")
    file = weights.networks["G"]
    network = runtimes.open_network(name, file.content(), file.spec)
    larger_than_addresses = np.broadcast_to(np.float32(0.5), (1, 3, 2**24, 2**24))  # itself four bytes
    with pytest.raises(MemoryError):
        network(larger_than_addresses)


def test_memory_that_runs_out_halves_the_tiles(x: np.ndarray) -> None:
    asked = []

    def scarce(tile: np.ndarray) -> np.ndarray:
        asked.append(tile[0, 0].size)
        if tile[0, 0].size > 300_000:
            raise MemoryError
        return tile + 1

    large = np.zeros((1, 3, 1000, 1000), np.float32)
    runner = Runner(Session(scarce, ""), multiple_px=8, overlap_px=24)
    assert (runner(large) == 1).all()
    assert asked[0] == 1_000_000
    assert max(asked[-5:]) <= 300_000
    never = Runner(Session(lambda tile: scarce(np.zeros((1, 3, 1000, 1000))), ""), multiple_px=8, overlap_px=24)
    with pytest.raises(MemoryError):
        never(large)


def test_networks_run_in_the_memory_of_each_other_and_give_it_back() -> None:
    script = """
import json, numpy as np, psutil
from golfdeblur.model import load
model = load("fast", runtime="onnxruntime")
taken = lambda: psutil.Process().memory_info().rss / 2**20
x = np.random.default_rng(0).random((1, 3, 1008, 1504), np.float32)
small = x[:, :, :64, :64]
model.f(small), model.g(small)
start = taken()
figures = {}
for name, step in {"F": model.f, "G": model.g, "F again": model.f}.items():
    step(x)
    figures[name] = taken() - start
model.f.session.shrink()
print(json.dumps({**figures, "released": taken() - start, "in turns": model.f.session.in_turns}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    mib = json.loads(done.stdout)
    assert mib["in turns"]
    assert 1008 * 1504 * 60 / 2**20 < mib["F"] < 1008 * 1504 * 176 / 2**20
    assert mib["G"] < mib["F"] + 10
    assert mib["F again"] < mib["F"] + 20
    assert mib["released"] < 50


def test_memory_that_another_library_shares_is_left_alone(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    file = find_weights("fast").f
    ours = open_runner(file, "onnxruntime")
    assert ours.session.in_turns
    assert not open_runner(file, "onnxruntime-int8").session.in_turns  # its need is counted otherwise

    def registered(info: object, arena: object) -> None:
        raise RuntimeError("An allocator for this device has already been registered for sharing.")

    monkeypatch.setattr("onnxruntime.create_and_register_allocator", registered)
    monkeypatch.setattr(onnx, "_shared_memory", onnx._shared_memory.__wrapped__)  # asked once otherwise
    alone = open_runner(file, "onnxruntime")
    assert not alone.session.in_turns
    assert np.array_equal(alone(x), ours(x))


def test_ctrl_c_ends_a_run_that_python_cannot_look_into() -> None:
    working, told = threading.Event(), threading.Event()

    def work() -> str:
        working.set()
        assert told.wait(GUARD_S)
        return "the end"

    def press() -> None:
        working.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        runtimes.interruptible(work, told.set)
    assert told.is_set()
    assert runtimes.interruptible(lambda: 3, told.set) == 3
    with pytest.raises(ZeroDivisionError):
        runtimes.interruptible(lambda: 1 // 0, told.set)


def test_signals_are_handled_after_openvino_is_gone() -> None:
    script = """
import gc, faulthandler, signal
faulthandler.enable()
from golfdeblur.runtimes import open_network
from golfdeblur.weights import find_weights
networks = [open_network("openvino", find_weights("paper").g.path.read_bytes()) for _ in range(2)]
while networks:
    del networks[0]
    gc.collect()
signal.signal(signal.SIGINT, lambda number, frame: print("handled"))
for _ in range(3):
    signal.raise_signal(signal.SIGINT)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=GUARD_S, check=True)
    assert result.stdout == "handled\n" * 3


def test_a_stopped_run_of_onnxruntime_ends_early_and_another_can_follow(tiny_model: Path) -> None:
    session = open_runner(find_weights(tiny_model).f, "onnxruntime").session
    x = np.zeros((1, 6, 2048, 2048), np.float32)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        [session(x) for _ in range(1000)]
    assert session(x[:, :, :64, :64]).shape == (1, 3, 64, 64)
