"""Sums of an 8-bit network that come out alike in every runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

EDGE = 5e-5
"""How near to a rounding edge no sum of two bytes may lie, in steps of the result: float32 errs by up to so much."""

WEIGHT_STEPS = 64
"""How many steps the root mean square of a float32 convolution's weights has at least."""


def keep_sums_off_edges(graph: onnx.GraphProto) -> None:
    """Enlarge the scales of 8-bit sums a little, until no sum of two bytes lies within `EDGE` of a rounding edge.

    Runtimes add in float32, each in its own order, so that they round such a sum to different bytes, and in 8 bits one
    such byte changes the picture for a hundred pixels around (research/).
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    stored = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}

    def term(name: str) -> onnx.NodeProto | None:
        """Find what makes the values of a term, which a pixel-shuffle may have moved."""
        node = made.get(name)
        return term(node.input[0]) if node is not None and node.op_type in ("Reshape", "Transpose") else node

    for node in graph.node:
        if node.op_type != "Add" or node.output[0] not in stored:
            continue
        terms = [found for name in node.input if (found := term(name)) is not None]
        if len(terms) != 2 or any(found.op_type != "DequantizeLinear" for found in terms):
            continue
        result = stored[node.output[0]]
        parts = [_steps(found, constants) for found in terms]
        scale, zero = _steps(result, constants)
        while _near_an_edge(parts, scale, zero):
            scale = float(np.float32(scale * (1 + 1e-5)))
        replace(constants[result.input[1]], np.array(scale))


def _near_an_edge(parts: list[tuple[float, int]], scale: float, zero: int) -> bool:
    """Tell whether any two bytes of the `parts`, each a (scale, zero point), add up to nearly half a step."""
    first, second = ((np.arange(256) - part_zero) * (part_scale / scale) for part_scale, part_zero in parts)
    sums = zero + first[:, None] + second
    sums = sums[(sums > -1) & (sums < 256)]  # beyond, they are cut off
    return bool((np.abs(sums - np.floor(sums) - 0.5) < EDGE).any())


def _steps(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[float, int]:
    """Return the scale and the zero point of a QuantizeLinear or DequantizeLinear of one scale."""
    from onnx import numpy_helper

    scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
    return float(scale), int(zero)


def replace(constant: onnx.TensorProto, values: np.ndarray) -> None:
    """Give a constant other values, as float32."""
    from onnx import numpy_helper

    constant.CopyFrom(numpy_helper.from_array(values.astype(np.float32), constant.name))


def make_float_sums_exact(graph: onnx.GraphProto) -> None:
    """Round what the first and the last convolution see, and their weights, so that none of their sums is ever rounded.

    They are computed in float32, whose 24 bits then hold every sum, in whatever order a runtime adds. Without that
    their results differ between runtimes by 1e-7, and where one falls on an edge of the next bytes, so does the picture
    for a hundred pixels around (research/). Steps are powers of two, of WEIGHT_STEPS or more for the weights; what is
    left goes to the pixels. A convolution that sees anything but the image and 8-bit values stays as it is.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}

    def largest(name: str) -> float:
        node = made.get(name)
        if name == "x":
            return 1.0  # of the image, or of a residual of half the size
        if node is not None and node.op_type == "DequantizeLinear":
            scale, zero = _steps(node, constants)
            return max(zero, 255 - zero) * scale
        return sum(map(largest, node.input)) if node is not None and node.op_type == "Add" else np.inf

    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node in (convolutions[0], convolutions[-1]):
        _make_sums_exact(graph, node, largest(node.input[0]), constants)


def _make_sums_exact(
    graph: onnx.GraphProto, node: onnx.NodeProto, largest: float, constants: dict[str, onnx.TensorProto]
) -> None:
    """Round the weights of a convolution, and in a step before it what it sees, at most `largest`."""
    from onnx import helper, numpy_helper

    weight, bias = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
    most = largest * np.abs(weight).sum(axis=(1, 2, 3)).max() + np.abs(bias).max()
    if not 0 < most < np.inf or not weight.any():
        return
    fine = int(np.ceil(np.log2(WEIGHT_STEPS / np.sqrt(np.square(weight).mean()))))
    coarse = 24 - int(np.ceil(np.log2(most))) - fine
    replace(constants[node.input[1]], np.ldexp(np.rint(np.ldexp(weight, fine)), -fine - coarse))
    replace(constants[node.input[2]], np.ldexp(np.rint(np.ldexp(bias, fine + coarse)), -fine - coarse))
    steps, scaled, rounded = (f"{node.input[0]}_{end}" for end in ("steps", "scaled", "rounded"))
    graph.initializer.append(numpy_helper.from_array(np.ldexp(np.float32(1), coarse), steps))
    index = list(graph.node).index(node)
    graph.node.insert(index, helper.make_node("Mul", [node.input[0], steps], [scaled]))
    graph.node.insert(index + 1, helper.make_node("Round", [scaled], [rounded]))
    node.input[0] = rounded
