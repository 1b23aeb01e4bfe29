"""One door to the libraries that call home or leave files behind: each is told not to before it is imported.

onnxruntime, since 1.29 on Linux and macOS too, keeps the computer's id in the user's cache and looks up a host of its
maker's. OpenVINO does the same by another package, and listens to no variable.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

SILENCE = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # accelerate imports huggingface_hub
    "DO_NOT_TRACK": "1",
}
"""What these libraries read when they are imported, and later is too late."""

OPENVINO_REPORTS = "openvino_telemetry"
"""The package without which OpenVINO reports nothing."""


def silence() -> None:
    """Set the variables, for this process and all that it starts."""
    os.environ.update(SILENCE)


def onnxruntime() -> Any:
    """Return the module onnxruntime."""
    silence()
    import onnxruntime

    return onnxruntime


def quantization() -> Any:
    """Return onnxruntime's module that makes networks of 8 bits."""
    onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference  # noqa: F401 (joins the module)

    return quantization


def openvino() -> Any:
    """Return the module openvino. Raises ImportError where it is not installed."""
    with _missing(OPENVINO_REPORTS):
        import openvino

    return openvino


@functools.cache
def matplotlib() -> Any:
    """Return the module matplotlib, which draws into files alone and keeps no list of fonts among the user's files."""
    if "MPLCONFIGDIR" not in os.environ:
        folder = os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="golf-fonts-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    import matplotlib

    matplotlib.use("Agg")
    return matplotlib


@contextlib.contextmanager
def _missing(package: str) -> Iterator[None]:
    """Let `package` look as if it were not installed, unless it has been imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
