"""A whole model in one ONNX file: every scale of F, all strokes, the border and the strength inside.

It states `engine.scales`, `engine.cells` and `golf.strokes` once more, as a graph, and is tested to give the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import golfdeblur
from golfdeblur.errors import ConfigError
from golfdeblur.golf import STEPS, STOP_BELOW, check_steps
from golfdeblur.weights import NetworkFile, Weights

OPSET = 13
"""The lowest in which the networks' own nodes have the form that they were exported in."""

IR_VERSION = 7
"""Of the same release as the opset: older programs refuse a later one."""


SIZE: list[str | int | None] = [1, 3, "height", "width"]


def to_single(
    weights: Weights, *, steps: int = STEPS, strength: float | None = None, stop_below: float = STOP_BELOW
) -> bytes:
    """Return an ONNX file from `input`, RGB (1, 3, H, W) in [0, 1] of any size, to `output`, the same.

    It has a second input, `strength`, one number of 0 to 1. With a given `strength` there is one input alone, which
    most programs need. Strokes after one that changes less than `stop_below` are computed, and change nothing. Raises
    ConfigError for impossible steps and strengths, WeightsError for damaged weights.
    """
    check_steps(steps)
    if strength is not None and not 0 <= strength <= 1:
        raise ConfigError(f"A strength of {strength} is asked for; 0 (the input) to 1 (the result) are allowed.")
    graph = _Graph()
    y = "input"
    x = _strokes(graph, weights, y, steps, stop_below)
    clipped = graph.node("Clip", x, graph.number(0, np.float32), graph.number(1, np.float32))
    share = "strength" if strength is None else graph.number(strength, np.float32)
    moved = graph.node("Mul", share, graph.node("Sub", clipped, y))
    graph.nodes.append(helper.make_node("Add", [y, moved], ["output"]))
    return _file(graph, weights, steps=steps, strength=strength)


def _strokes(graph: _Graph, weights: Weights, y: str, steps: int, stop_below: float) -> str:
    """Add `golf.strokes`, and return the name of the last."""
    x, settled = _scales(graph, y, weights.f, weights.f.scales), ""
    for index in range(steps if weights.g else 0):
        assert weights.g is not None
        following = graph.network("G", weights.g, x)
        if settled:
            following = graph.node("Where", settled, x, following)
        if stop_below and index < steps - 1:
            moved = graph.node("ReduceMean", graph.node("Abs", graph.node("Sub", following, x)), keepdims=0)
            settled = graph.node("Less", moved, graph.number(stop_below, np.float32))
        x = following
    return x


def _scales(graph: _Graph, x: str, f: NetworkFile, scales: int) -> str:
    """Add n(x, r_{s-1}(half(x))) of `engine.scales`, and return its name."""
    if f.scales == 1:
        return graph.network("F", f, x)
    continued = graph.continued(x, f.multiple_px)
    half = graph.node("AveragePool", continued, kernel_shape=[2, 2], strides=[2, 2])
    if scales > 1:
        coarse = graph.node("Sub", _scales(graph, half, f, scales - 1), half)
    else:
        coarse = graph.node("Mul", half, graph.number(0, np.float32))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    enlarged = graph.node("Resize", coarse, "", graph.constant(np.array([1, 1, 2, 2], np.float32)), **how)
    return graph.cropped(graph.inlined("F", f, graph.node("Concat", continued, enlarged, axis=1)), x)


class _Graph:
    """Nodes and the numbers that they use; every method adds some and returns the name of what they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.loaded: dict[str, Any] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float, kind: type = np.int64) -> str:
        return self.constant(np.array(value, kind))

    def network(self, letter: str, file: NetworkFile, x: str) -> str:
        """Run a network of one scale on any size."""
        return self.cropped(self.inlined(letter, file, self.continued(x, file.multiple_px)), x)

    def continued(self, x: str, multiple: int) -> str:
        """Continue `x` to whole cells, as `engine.cells.mirrored` does."""
        if multiple == 1:
            return x
        shape = self.node("Shape", x)
        for axis in (2, 3):
            length = self.node("Gather", shape, self.number(axis))
            cells = self.node("Div", self.node("Add", length, self.number(multiple - 1)), self.number(multiple))
            to = self.node("Mul", cells, self.number(multiple))
            twice = self.node("Mul", length, self.number(2))
            place = self.node("Mod", self.node("Range", self.number(0), to, self.number(1)), twice)
            back = self.node("Sub", self.node("Sub", twice, self.number(1)), place)
            x = self.node("Gather", x, self.node("Min", place, back), axis=axis)
        return x

    def cropped(self, x: str, like: str) -> str:
        """Cut `x` to the height and width of `like`."""
        ends = self.node("Slice", self.node("Shape", like), *(self.constant(np.array([i])) for i in (2, 4)))
        return self.node("Slice", x, self.constant(np.array([0, 0])), ends, self.constant(np.array([2, 3])))

    def inlined(self, letter: str, file: NetworkFile, x: str) -> str:
        """Add the nodes of a network's file once more; its weights are there once."""
        if letter not in self.loaded:
            self.loaded[letter] = onnx.load_model_from_string(file.content()).graph
            for tensor in self.loaded[letter].initializer:
                kept = TensorProto.FromString(tensor.SerializeToString())
                kept.name = f"{letter}/{tensor.name}"
                self.initializers.append(kept)
        given = self.loaded[letter]
        weights = {tensor.name: f"{letter}/{tensor.name}" for tensor in given.initializer}
        names = {"": "", given.input[0].name: x, **weights}
        for old in given.node:
            node = onnx.NodeProto.FromString(old.SerializeToString())
            names.update({out: f"{letter}{len(self.nodes)}/{out}" for out in old.output})
            node.name = f"{letter}{len(self.nodes)}/{old.name}"
            node.input[:] = [names[name] for name in old.input]
            node.output[:] = [names[name] for name in old.output]
            kept = [entry for entry in old.attribute if entry.name != "allowzero"]  # of opset 14, and never set
            del node.attribute[:]
            node.attribute.extend(kept)
            self.nodes.append(node)
        return names[given.output[0].name]


def _file(graph: _Graph, weights: Weights, *, steps: int, strength: float | None) -> bytes:
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, SIZE)]
    if strength is None:
        inputs.append(helper.make_tensor_value_info("strength", TensorProto.FLOAT, [1]))
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, SIZE)]
    known = [helper.make_tensor_value_info(graph.nodes[-2].output[0], TensorProto.FLOAT, SIZE)]
    made = helper.make_graph(graph.nodes, "golfdeblur", inputs, outputs, graph.initializers, value_info=known)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="golfdeblur",
        producer_version=golfdeblur.__version__,
        doc_string="Takes the motion blur out of photographs: RGB in [0, 1], (1, 3, H, W) of any size, to the same.",
    )
    notes = {"model": weights.name, "version": golfdeblur.__version__, "license": "Apache-2.0", "steps": str(steps)}
    hashes = {f"sha256_{letter}": file.sha256 for letter, file in weights.networks.items()}
    helper.set_model_props(model, {**notes, **hashes, "data": weights.data})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
