"""OpenVINO on the CPU, in float32 or bfloat16."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from golfdeblur import machine, offline
from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.runtimes import Session, memory_errors

PIXEL_SHUFFLE = ["Reshape", "Transpose", "Reshape", "Transpose", "Reshape"]
ORDERS = [[0, 1, 3, 2, 4], [0, 1, 3, 4, 2]]
"""What `layers.PixelShuffle` is in a file and the orders of its two transpositions, the last operation first."""


def open_network(content: bytes, name: str) -> Session:
    """Make the ONNX file `content` ready to run in runtime `name`. Raises ConfigError or WeightsError."""
    try:
        openvino = offline.openvino()
    except ImportError as error:
        raise ConfigError("Runtime 'openvino' is not installed here; pip install 'golfdeblur[openvino]'.") from error
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": machine.threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("bf16") else "f32",
    }
    try:
        model = with_faster_operations(core().read_model(content), openvino.opset13)
        compiled = core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO cannot load the network ({error}); use --runtime onnxruntime.") from error
    one_at_a_time = threading.Lock()  # a compiled model refuses a second run while it is busy

    def run(x: np.ndarray) -> np.ndarray:
        try:
            with memory_errors(), one_at_a_time:
                return compiled(x)[0]
        except RuntimeError as error:  # it has compiled for instructions that it may not use
            reason = str(error).strip().splitlines()[-1]
            raise ConfigError(f"OpenVINO cannot compute here ({reason}); use --runtime onnxruntime.") from error

    return Session(run, name)


@functools.cache
def core() -> Any:
    """Return the one openvino.Core of this process.

    On processors with AMX its plugin gives the thread that loads it another stack for signals, and takes that away
    with the last Core: the next Ctrl-C, or child that ends, would then end Python (OpenVINO 2026.4).
    """
    return offline.openvino().Core()


def with_faster_operations(model: Any, operations: Any) -> Any:
    """Return the openvino.Model with its pixel shuffles and its last addition as `operations` that it computes faster.

    The transpositions of a pixel shuffle, which onnxruntime prefers, and that addition, three channels at a time, made
    half of G's time and a tenth of F's (research/, 2026-11-30). In float32 the values stay the same.
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
