"""The engines that compute a network: each makes a function on (B, 3, H, W) float32 arrays from a model's file.

Reduced precision is accepted only where it agrees with float32 on a test image (`agreement_db`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from golfdeblur import offline
from golfdeblur.errors import ConfigError, WeightsError

Network = Callable[[np.ndarray], np.ndarray]


def _nothing() -> None:
    """Release no memory."""


@dataclass(frozen=True)
class Engine:
    """A network that can be run, and whose memory can be given back between two runs."""

    run: Network
    release: Callable[[], None] = _nothing
    in_turns: bool = False
    """It takes no memory beside that which another such network took: they run in turns."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the network."""
        return self.run(x)


RUNTIMES = {
    "auto": "onnxruntime on an NVIDIA GPU where it can, else on the CPU",
    "onnxruntime": "onnxruntime on the CPU",
    "onnxruntime-int8": "the same with 8-bit networks, where the model has them",
    "openvino": "OpenVINO on the CPU (extra `openvino`)",
    "openvino-bf16": "the same in bfloat16, for CPUs that compute in it",
    "torch": "torch: CUDA, MPS or the CPU (extra `train`)",
    "torch-bf16": "the same in bfloat16",
    "cuda": "onnxruntime on an NVIDIA GPU (onnxruntime-gpu)",
    "coreml": "onnxruntime on Apple's GPU and neural engine",
}
"""Every runtime and what it is."""

REDUCED = {"openvino-bf16": 50.0, "torch-bf16": 50.0, "coreml": 50.0, "onnxruntime-int8": 38.0}
"""Runtimes that may compute with fewer bits than float32, and the decibels to which they must agree with it."""

RELEASE_PX = 128
"""The side of the small image after which memory is given back; a multiple of every network's cell."""

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-int8": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}

STAYING_BYTES = 16 * 2**20
"""Address space for what stays as long as a network: the weights of several."""

RUN_BYTES = 2**30
"""Address space for what a run needs: more than any tile; a larger frame gets more."""

PROVIDER_OPTIONS = {"cuda": {"use_tf32": "0"}}
"""Where nothing is said, convolutions on an NVIDIA GPU round what they multiply to 11 bits (TF32)."""

PIXEL_SHUFFLE = ["Reshape", "Transpose", "Reshape", "Transpose", "Reshape"]
ORDERS = [[0, 1, 3, 2, 4], [0, 1, 3, 4, 2]]
"""What `networks.PixelShuffle` is in a file and the orders of its two transpositions, the last operation first."""


def resolve(name: str) -> str:
    """Return the runtime that `name` stands for here: `auto` is CUDA if onnxruntime has it, else onnxruntime.

    OpenVINO and Core ML have to be asked for: the first is no faster on every CPU (docs/performance.md), the second
    is reduced precision. Raises ConfigError for an unknown name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"Runtime '{name}' is unknown; use one of {', '.join(RUNTIMES)}.")
    if name != "auto":
        return name
    return "cuda" if "cuda" in available() else "onnxruntime"


def available() -> list[str]:
    """Return the runtimes that are installed here, fastest to import first."""
    providers = offline.onnxruntime().get_available_providers()
    found = [name for name, provider in PROVIDERS.items() if provider in providers]
    found += ["openvino", "openvino-bf16"] if importlib.util.find_spec("openvino") else []
    return found + (["torch", "torch-bf16"] if importlib.util.find_spec("torch") else [])


def open_network(name: str, content: bytes, path: Path) -> Engine:
    """Make a network runnable in runtime `name` (one that `resolve` returned).

    `content` is its ONNX file (of 8 bits for `onnxruntime-int8`) and `path` where that lies; torch reads the
    safetensors file beside it. The function raises MemoryError where memory runs out. Raises ConfigError where the
    runtime is not installed or does not start, WeightsError for a file that cannot be loaded.
    """
    if name in PROVIDERS:
        return _onnxruntime(content, PROVIDERS[name], name)
    if name.startswith("openvino"):
        return Engine(_openvino(content, bf16=name.endswith("bf16")))
    return Engine(_torch(path.with_suffix(".safetensors"), bf16=name.endswith("bf16")))


def agreement_db(network: Network, reference: Network, *, multiple_px: int, scales: int = 1) -> float:
    """Return the PSNR in dB between two networks on a small image of edges, gradients and noise.

    Networks of several scales get a faint copy of it as the residual of half the size.
    """
    side = -(-72 // multiple_px) * multiple_px
    rows, columns = np.mgrid[0:side, 0 : side + multiple_px].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, (3, *rows.shape)).astype(np.float32)
    plain = 0.5 + 0.3 * np.sin(columns / 5) * np.cos(rows / 9) + 0.2 * (rows > columns)
    x = np.clip(plain + noise, 0, 1)[None].astype(np.float32)
    x = x if scales == 1 else np.concatenate([x, 0.1 * (x - 0.5)], axis=1)
    difference = network(x) - reference(x)
    return float(-10 * np.log10(max(float(np.square(difference).mean()), 1e-20)))


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn what a runtime raises where memory runs out into a MemoryError."""
    try:
        yield
    except Exception as error:  # the runtimes' exceptions share no base class
        # The last is how oneDNN, which computes torch's convolutions, puts it.
        if any(words in str(error).lower() for words in ("alloc", "out of memory", "could not create a primitive")):
            raise MemoryError(str(error)) from error
        raise


@functools.cache
def _shared_memory() -> bool:
    """Give all networks on the CPU one stretch of address space for their runs; return whether onnxruntime has it.

    Left alone, every network keeps pieces of powers of two, into which the maps of a large tile fit badly, and never
    gives its first back: F and G kept 1,100 MiB for tiles of 6.5 megapixels, and 500 after `release`. Of one stretch
    only what a run writes to is taken from the system: 710 MiB, and 8 (docs/log.md, 2026-11-29, end).
    """
    onnxruntime = offline.onnxruntime()

    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    sizes = {"initial_chunk_size_bytes": STAYING_BYTES, "initial_growth_chunk_size_bytes": RUN_BYTES}
    try:
        onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg(sizes))
    except Exception:  # another library has registered its own in this process; there is no base class for this
        return False
    return True


def _onnxruntime(content: bytes, provider: str, name: str) -> Engine:
    onnxruntime = offline.onnxruntime()

    if provider not in onnxruntime.get_available_providers():
        package = {"cuda": "onnxruntime-gpu", "coreml": "onnxruntime on macOS"}[name]
        raise ConfigError(f"Runtime '{name}' is not installed here; install {package}, or use --runtime auto.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # F's idle threads would go on spinning on the cores that G needs: 74 instead of 44 ms at 256 x 256 on two cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A second run of a size would take one block for all that its first run took piece by piece, and keep both.
    options.enable_mem_pattern = False
    on_cpu = provider == PROVIDERS["onnxruntime"]
    shared = on_cpu and _shared_memory()
    if shared:
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        providers = [(provider, PROVIDER_OPTIONS.get(name, {}))]
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise WeightsError(f"The network cannot be loaded ({error}); export it again.") from error
    if provider not in session.get_providers():  # it would compute on the processor instead
        raise ConfigError(
            f"Runtime '{name}' is installed, but does not start here (the driver and libraries must be of the versions "
            "that onnxruntime asks for); install those, or use --runtime onnxruntime."
        )

    channels = session.get_inputs()[0].shape[1]

    def run(x: np.ndarray) -> np.ndarray:
        with _memory_errors():
            return session.run(None, {"x": x})[0]

    def release() -> None:
        # What the largest run took is kept; it is given back after a run that asks for it (always asking costs 13 %).
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        session.run(None, {"x": np.zeros((1, channels, RELEASE_PX, RELEASE_PX), np.float32)}, options)

    if not on_cpu:
        return Engine(run)
    release()  # only what comes after this lies in one stretch
    # An 8-bit F takes a little more than config.json says of F: with what it says of G, that is enough.
    return Engine(run, release, in_turns=shared and name == "onnxruntime")


def _openvino(content: bytes, *, bf16: bool) -> Network:
    try:
        openvino = offline.openvino()
    except ImportError as error:
        raise ConfigError("Runtime 'openvino' is not installed here; pip install 'golfdeblur[openvino]'.") from error
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
    }
    try:
        compiled = core.compile_model(_for_openvino(core.read_model(content), openvino.opset13), "CPU", settings)
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO cannot load the network ({error}); use --runtime onnxruntime.") from error

    def run(x: np.ndarray) -> np.ndarray:
        with _memory_errors():
            return compiled(x)[0]

    return run


def _for_openvino(model: Any, operations: Any) -> Any:
    """Return the openvino.Model with its pixel shuffles and its last addition as `operations` that it computes faster.

    The transpositions of a pixel shuffle, which onnxruntime prefers, and that addition, three channels at a time, made
    half of G's time and a tenth of F's (docs/log.md, 2026-11-30). In float32 the values stay the same.
    """
    for node in model.get_ordered_ops():
        chain = [node]
        while len(chain) < len(PIXEL_SHUFFLE) and chain[-1].get_type_name() in PIXEL_SHUFFLE:
            chain.append(chain[-1].input_value(0).get_node())
        if [step.get_type_name() for step in chain] != PIXEL_SHUFFLE:
            continue
        if [step.input_value(1).get_node().data.tolist() for step in chain[1::2]] == ORDERS:
            factor = chain[-1].get_output_partial_shape(0)[2].get_length()  # of (B, C u, u, H, W)
            shuffled = operations.depth_to_space(chain[-1].input_value(0), "depth_first", factor)
            node.output(0).replace(shuffled.output(0))
    result = model.get_results()[0]
    last = result.input_value(0).get_node()
    if last.get_type_name() == "Add":
        x, residual = (operations.reshape(last.input_value(i), np.array([0, 0, -1]), True) for i in (0, 1))
        added = operations.reshape(operations.add(x, residual), operations.shape_of(last.input_value(0)), False)
        result.input(0).replace_source_output(added.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _torch(path: Path, *, bf16: bool) -> Network:
    try:
        import torch

        from golfdeblur.learning import checkpoint
    except ImportError as error:
        raise ConfigError("Runtime 'torch' is not installed here; pip install 'golfdeblur[train]'.") from error
    network, _ = checkpoint.load_network(path)
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    network = network.to(torch.device(kind)).eval()
    # 1.4 times as fast where measured. In float32, what others compare with, torch is left as it computes by itself.
    layout = torch.channels_last if bf16 and kind == "cpu" else torch.contiguous_format
    network = cast(Any, network).to(memory_format=layout)

    def run(x: np.ndarray) -> np.ndarray:
        with (
            _memory_errors(),
            torch.inference_mode(),
            torch.autocast(kind, torch.bfloat16, enabled=bf16),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # as in PROVIDER_OPTIONS
        ):
            given = torch.from_numpy(x).to(kind, memory_format=layout)
            return (given[:, :3] + network(given)).float().contiguous().cpu().numpy()

    return run
