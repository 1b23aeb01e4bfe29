"""onnxruntime, on the CPU and on graphics processors."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from golfdeblur import machine, offline
from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.runtimes import PROVIDERS, Session, interruptible, memory_errors

onnxruntime = offline.onnxruntime()

RELEASE_PX = 128
"""The side of the small image after which memory is given back; a multiple of every network's cell."""

STAYING_BYTES = 16 * 2**20
"""Address space for what stays as long as a network: the weights of several."""

RUN_BYTES = 2**30
"""Address space for what a run needs: more than any tile; a larger frame gets more."""

PROVIDER_OPTIONS = {"cuda": {"use_tf32": "0"}}
"""Where nothing is said, convolutions on an NVIDIA GPU round what they multiply to 11 bits (TF32)."""


def open_network(content: bytes, provider: str, name: str) -> Session:
    """Make the ONNX file `content` ready to run by `provider`, in runtime `name`.

    Raises ConfigError where the provider is not installed or does not start, WeightsError for an unusable file.
    """
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(f"Runtime '{name}' is not installed here; install onnxruntime-gpu, or use --runtime auto.")
    on_cpu = provider == PROVIDERS["onnxruntime"]
    shared = on_cpu and _shared_memory()
    try:
        providers = [(provider, PROVIDER_OPTIONS.get(name, {}))]
        session = onnxruntime.InferenceSession(content, _options(shared=shared), providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise WeightsError(f"The network cannot be loaded ({error}); export it again.") from error
    if provider not in session.get_providers():  # it would compute on the processor instead
        raise ConfigError(
            f"Runtime '{name}' is installed, but does not start here (the driver and libraries must be of the versions "
            "that onnxruntime asks for); install those, or use --runtime onnxruntime."
        )

    def run(x: np.ndarray) -> np.ndarray:
        options = onnxruntime.RunOptions()
        with memory_errors():
            work = functools.partial(session.run, None, {"x": x}, options)
            return interruptible(work, lambda: setattr(options, "terminate", True))[0]

    if not on_cpu:
        return Session(run, name)
    release = functools.partial(_release, session)
    release()  # only what comes after this lies in one stretch
    # An 8-bit F takes a little more than config.json says of F: with what it says of G, that is enough.
    return Session(run, name, release=release, in_turns=shared and name == "onnxruntime")


def _options(*, shared: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if (threads := machine.threads()) < (os.cpu_count() or 1):
        options.intra_op_num_threads = threads
    # else onnxruntime's own choice, one thread for each physical core
    # F's idle threads would go on spinning on the cores that G needs: 74 instead of 44 ms at 256 x 256 on two cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A second run of a size would take one block for all that its first run took piece by piece, and keep both.
    options.enable_mem_pattern = False
    if shared:
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def _release(session: Any) -> None:
    """Give back what the largest run took, after a small one that asks for it (always asking costs 13 %)."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    _, channels, *sides = session.get_inputs()[0].shape
    height, width = (side if isinstance(side, int) else RELEASE_PX for side in sides)
    session.run(None, {"x": np.zeros((1, channels, height, width), np.float32)}, options)


@functools.cache
def _shared_memory() -> bool:
    """Give all networks on the CPU one stretch of address space for their runs; return whether onnxruntime has it.

    Left alone, every network keeps pieces of powers of two, into which the maps of a large tile fit badly, and never
    gives its first back: F and G kept 1,100 MiB for tiles of 6.5 megapixels, and 500 after a release. Of one stretch
    only what a run writes to is taken from the system: 710 MiB, and 8 (research/, 2026-11-29, end).
    """
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    sizes = {"initial_chunk_size_bytes": STAYING_BYTES, "initial_growth_chunk_size_bytes": RUN_BYTES}
    try:
        onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg(sizes))
    except Exception:  # another library has registered its own in this process; there is no base class for this
        return False
    return True
