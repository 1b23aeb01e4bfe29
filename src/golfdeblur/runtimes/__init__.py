"""What computes a network: one file for each library, their names, and how well reduced precision must agree."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from golfdeblur import offline
from golfdeblur.errors import ConfigError

Result = TypeVar("Result")

Network = Callable[[np.ndarray], np.ndarray]
"""F or G on whole cells: from (B, C, H, W) float32 to (B, 3, H, W)."""

RUNTIMES = {
    "auto": "onnxruntime on an NVIDIA GPU where it can, else on the CPU",
    "onnxruntime": "onnxruntime on the CPU",
    "onnxruntime-int8": "the same with 8-bit networks, where the model has them",
    "openvino": "OpenVINO on the CPU (extra `openvino`)",
    "openvino-bf16": "the same in bfloat16, for CPUs that compute in it",
    "torch": "torch: CUDA, MPS or the CPU (extra `train`)",
    "torch-bf16": "the same in bfloat16",
    "cuda": "onnxruntime on an NVIDIA GPU (onnxruntime-gpu)",
}
"""Every runtime and what it is."""

REDUCED = {"openvino-bf16": 50.0, "torch-bf16": 50.0, "onnxruntime-int8": 38.0}
"""Runtimes that may compute with fewer bits than float32, and the decibels to which they must agree with it."""

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-int8": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
"""What onnxruntime calls that which computes in each runtime of its own."""


class Session:
    """A network that a runtime has ready to run, also in several threads at once; it knows what memory it keeps."""

    def __init__(
        self, run: Network, runtime: str, *, release: Callable[[], None] | None = None, in_turns: bool = False
    ) -> None:
        self._run, self._release = run, release
        self.runtime = runtime
        """Which of RUNTIMES computes it."""
        self.in_turns = in_turns
        """It takes no memory beside that which another such network took: they run in turns."""
        self._most_px = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the network. Raises MemoryError where memory runs out."""
        self._most_px = max(self._most_px, x.shape[2] * x.shape[3])
        return self._run(x)

    def shrink(self, px: int = 0) -> None:
        """Give back what runs of more than `px` pixels took."""
        if self._most_px > px and self._release is not None:
            self._release()
            self._most_px = 0


def resolve(name: str) -> str:
    """Return the runtime that `name` stands for here: `auto` is CUDA if onnxruntime has it, else onnxruntime.

    OpenVINO has to be asked for: it is no faster on every CPU (docs/performance.md). Raises ConfigError for an unknown
    name.
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


def open_network(name: str, content: bytes, spec: dict[str, Any] | None = None) -> Session:
    """Make a network ready to run in runtime `name` (one that `resolve` returned).

    `content` is its ONNX file, of 8 bits for `onnxruntime-int8`; torch builds the network that `spec` describes, with
    the weights in that file. Raises ConfigError where the runtime is not installed or does not start, WeightsError
    for a file that cannot be loaded.
    """
    if name in PROVIDERS:
        from golfdeblur.runtimes import onnx

        return onnx.open_network(content, PROVIDERS[name], name)
    if name.startswith("openvino"):
        from golfdeblur.runtimes import openvino

        return openvino.open_network(content, name)
    from golfdeblur.runtimes import torch

    return torch.open_network(content, spec or {}, name)


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


def interruptible(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """Return `work()`. Ctrl-C calls `stop`, which ends it early, and then raises KeyboardInterrupt.

    Python looks at signals between its own instructions only, and a large tile takes seconds. So the main thread waits
    while another works; from other threads, which get no signals, it is a plain call.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    done: concurrent.futures.Future[Result] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    worker = threading.Thread(target=run, daemon=True)
    try:
        worker.start()  # Ctrl-C may come before it returns
        while not done.done():
            concurrent.futures.wait([done], timeout=0.2)  # on Windows a wait without end would not be interrupted
    except KeyboardInterrupt:
        stop()
        if worker.ident is not None:
            concurrent.futures.wait([done])
        raise
    return done.result()


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what a runtime raises where memory runs out into a MemoryError."""
    try:
        yield
    except Exception as error:  # the runtimes' exceptions share no base class
        # The last is how oneDNN, which computes torch's convolutions, puts it.
        if any(words in str(error).lower() for words in ("alloc", "out of memory", "could not create a primitive")):
            raise MemoryError(str(error)) from error
        raise
