"""An ONNX network with its convolutions in 8 bits: smaller, and on a CPU twice as fast."""

from __future__ import annotations

import collections
import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from golfdeblur import offline, runtimes
from golfdeblur.engine import tiles
from golfdeblur.engine.runner import Runner
from golfdeblur.files import atomic
from golfdeblur.learning.networks import ResidualUNet

if TYPE_CHECKING:
    import onnx

CUT = 8.0
"""How much more the squared error of a value that is cut off counts than that of one that is rounded.

docs/log.md compares 1 to 16.
"""

SHARES = np.linspace(0.3, 1, 36)
"""The parts of a tensor's greatest and least value between which its range is looked for."""

BINS = 8192
"""Into how many a tensor's values are counted."""

EDGE = 5e-5
"""How near to a rounding edge no sum of two bytes may lie, in steps of the result: float32 errs by up to so much."""


WEIGHT_STEPS = 64
"""How many steps the root mean square of a float32 convolution's weights has at least."""

EVENED = 0.7
"""The power of the channels' sizes that is taken away: 1 would make them equal, and helps less (docs/log.md)."""


def even_channels(network: ResidualUNet, photos: list[np.ndarray]) -> ResidualUNet:
    """Return a network with the same outputs, but with channels of more equal size within each level.

    All channels of a tensor share one range of 8 bits, in which the small ones have few steps. The tensors of a level
    are sums of each other, so each of its channels is divided wherever it is made, and multiplied wherever it is read,
    by its root mean square over `photos`, (1, 3, H, W) in [0, 1], to the power of `EVENED`.
    """
    made: Any = copy.deepcopy(network)
    levels = [[*encoder, *decoder] for encoder, decoder in zip(made.encoders, [*made.decoders, []], strict=True)]
    for level, sizes in enumerate(_channel_sizes(made, levels, photos)):
        makers = [made.downs[level - 1] if level else made.head, *(block.second for block in levels[level])]
        readers = [made.ups[level - 1][0] if level else made.tail[0], *(block.first for block in levels[level])]
        divided = [(maker, sizes) for maker in makers]
        if level + 1 < len(levels):
            divided.append((made.ups[level][0], sizes.repeat_interleave(4)))  # it makes four pixels of each channel
            readers.append(made.downs[level])
        with torch.no_grad():
            for maker, size in divided:
                maker.weight /= size[:, None, None, None]
                maker.bias /= size
            for reader in readers:
                reader.weight *= sizes[None, :, None, None]
    return cast(ResidualUNet, made)


def _channel_sizes(
    network: ResidualUNet, levels: list[list[torch.nn.Module]], photos: list[np.ndarray]
) -> list[Tensor]:
    """Return what to divide each level's channels by: of their size, relative to their mean, the power `EVENED`.

    The size is the geometric mean over the level's blocks of the root mean square over all photos.
    """
    squares: dict[torch.nn.Module, list[Tensor]] = {block: [] for blocks in levels for block in blocks}

    def note(block: torch.nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        squares[block].append(made.square().sum((0, 2, 3)))

    hooks = [block.register_forward_hook(note) for block in squares]
    with torch.no_grad():
        for photo in photos:
            size = [tiles.whole(length, network.multiple_px) for length in photo.shape[2:]]
            network(torch.from_numpy(tiles.fill(photo, out=np.empty((*photo.shape[:2], *size), photo.dtype))))
    for hook in hooks:
        hook.remove()
    totals = [torch.stack([torch.stack(squares[block]).sum(0) for block in blocks]) for blocks in levels]
    means = [torch.exp(total.clamp(min=1e-6 * float(total.max()) + 1e-12).log().mean(0)) for total in totals]
    return [(mean / mean.mean()) ** (EVENED / 2) for mean in means]


def to_int8(
    content: bytes, path: Path, photos: list[np.ndarray], *, multiple_px: int, scales: int
) -> tuple[bytes, list[np.ndarray]]:
    """Write an ONNX network in 8 bits but for its first and last convolution; return it and what it makes of `photos`.

    The ranges of the activations are those that suit `photos`, (1, 3, H, W) in [0, 1]. In float32 stay the image that
    the residual is added to and the last convolution, which makes the residual: their steps would show in smooth skies;
    and the first, because one range for the image and a faint residual of half the size rounds both.
    """
    import onnx

    quantization = offline.quantization()

    seen: list[np.ndarray] = []
    network = runtimes.open_network("onnxruntime", content, path)

    def watched(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return network(x)

    def runner(one: runtimes.Network) -> Runner:
        return Runner(runtimes.Session(one, ""), multiple_px=multiple_px, overlap_px=None, scales=scales)

    restored = [runner(watched)(photo) for photo in photos]

    class First(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        """One input only: the library insists on measuring ranges, but all that it needs are given to it."""

        def __init__(self) -> None:
            self.rest = iter(seen[:1])

        def get_next(self) -> dict[str, np.ndarray] | None:
            x = next(self.rest, None)
            return None if x is None else {"x": x}

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.onnx", Path(folder) / path.name
        quantization.shape_inference.quant_pre_process(
            onnx.load_from_string(content), str(plain), skip_symbolic_shape=True
        )
        model = onnx.load(str(plain))
        convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
        ranges = activation_ranges(model, seen)
        logging.disable(logging.WARNING)  # it advises what was just done
        try:
            quantization.quantize_static(
                str(plain),
                str(made),
                First(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=["Conv", "Relu"],
                nodes_to_exclude=[convolutions[0], convolutions[-1]],
                extra_options={
                    "TensorQuantOverrides": {
                        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
                        for name, (low, high) in ranges.items()
                    }
                },
            )
        finally:
            logging.disable(logging.NOTSET)
        model = onnx.load(str(made))
        keep_sums_off_edges(model.graph)
        unmatched = runner(runtimes.open_network("onnxruntime", model.SerializeToString(), path))
        match_steps(model.graph, unmatched, photos, restored)
        make_float_sums_exact(model.graph)
        eight = model.SerializeToString()
    atomic.write(path, eight)
    return eight, restored


def activation_ranges(model: onnx.ModelProto, inputs: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest value that 8 bits should tell apart, for all that convolutions see and make.

    What a ReLU throws away needs no bytes, so a convolution before one has the range of the ReLU's output.
    """
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    near = [n for n in model.graph.node if n.op_type in ("Conv", "Relu")]
    names = sorted({name for n in near for name in (*n.input, *n.output)} - constants - {"x"})
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = offline.onnxruntime().InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])

    def values() -> Iterator[tuple[str, np.ndarray]]:
        for x in inputs:
            yield from zip(names, session.run(names, {"x": x}), strict=True)

    ends: dict[str, tuple[float, float]] = {}
    for name, value in values():
        low, high = ends.get(name, (0.0, 0.0))
        ends[name] = min(low, float(value.min())), max(high, float(value.max()))
    counts = {name: np.zeros(BINS) for name in ends}
    for name, value in values():
        counts[name] += np.histogram(value, BINS, ends[name])[0]
    ranges = {name: best_range(*ends[name], counts[name]) for name in ends}
    uses = collections.Counter(name for node in model.graph.node for name in node.input)
    for node in near:
        if node.op_type == "Relu" and uses[node.input[0]] == 1:
            ranges[node.input[0]] = ranges[node.output[0]]
    return ranges


def best_range(low: float, high: float, counts: np.ndarray) -> tuple[float, float]:
    """Return the range of least squared error in 8 bits: what is rounded, and `CUT` times what is cut off.

    `counts`, (BINS,), says how many values lie in each of so many equal parts of [low, high], which holds 0.
    """
    centres = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
    lows, highs = low * SHARES, high * SHARES
    below = [float(counts @ np.square(np.maximum(end - centres, 0))) for end in lows]
    above = [float(counts @ np.square(np.maximum(centres - end, 0))) for end in highs]
    steps = (highs - lows[:, None]) / 255
    errors = CUT * np.add.outer(below, above) + counts.sum() * np.square(steps) / 12
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    return float(lows[i]), float(highs[j])


def keep_sums_off_edges(graph: onnx.GraphProto) -> None:
    """Enlarge the scales of 8-bit sums a little, until no sum of two bytes lies within `EDGE` of a rounding edge.

    Runtimes add in float32, each in its own order, so that they round such a sum to different bytes, and in 8 bits one
    such byte changes the picture for a hundred pixels around (docs/log.md).
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
        _replace(constants[result.input[1]], np.array(scale))


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


def _replace(constant: onnx.TensorProto, values: np.ndarray) -> None:
    """Give a constant other values, as float32."""
    from onnx import numpy_helper

    constant.CopyFrom(numpy_helper.from_array(values.astype(np.float32), constant.name))


def match_steps(graph: onnx.GraphProto, eight: Runner, photos: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """Make what `eight`, which runs `graph`, changes of the photos as much as is `wanted`: what float32 makes of them.

    What ranges cut off shortens the step by some 2 %, and strong blur loses most by that, as the step is too short for
    it already. The last convolution, which is in float32 and makes the residual, is multiplied accordingly.
    """
    from onnx import numpy_helper

    full = along = 0.0
    for photo, other in zip(photos, wanted, strict=True):
        step = other - photo
        full += float(np.square(step).sum())
        along += float((step * (eight(photo) - photo)).sum())
    last = [node for node in graph.node if node.op_type == "Conv"][-1]
    for tensor in graph.initializer:
        if tensor.name in last.input[1:3] and along > 0:
            _replace(tensor, numpy_helper.to_array(tensor) * np.float32(full / along))


def make_float_sums_exact(graph: onnx.GraphProto) -> None:
    """Round what the first and the last convolution see, and their weights, so that none of their sums is ever rounded.

    They are computed in float32, whose 24 bits then hold every sum, in whatever order a runtime adds. Without that
    their results differ between runtimes by 1e-7, and where one falls on an edge of the next bytes, so does the picture
    for a hundred pixels around (docs/log.md). Steps are powers of two, of WEIGHT_STEPS or more for the weights; what is
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
    _replace(constants[node.input[1]], np.ldexp(np.rint(np.ldexp(weight, fine)), -fine - coarse))
    _replace(constants[node.input[2]], np.ldexp(np.rint(np.ldexp(bias, fine + coarse)), -fine - coarse))
    steps, scaled, rounded = (f"{node.input[0]}_{end}" for end in ("steps", "scaled", "rounded"))
    graph.initializer.append(numpy_helper.from_array(np.ldexp(np.float32(1), coarse), steps))
    index = list(graph.node).index(node)
    graph.node.insert(index, helper.make_node("Mul", [node.input[0], steps], [scaled]))
    graph.node.insert(index + 1, helper.make_node("Round", [scaled], [rounded]))
    node.input[0] = rounded
