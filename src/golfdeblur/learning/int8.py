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
from golfdeblur.engine import cells
from golfdeblur.engine.runner import Runner
from golfdeblur.files import atomic
from golfdeblur.learning.networks import ResidualUNet
from golfdeblur.learning.sums import keep_sums_off_edges, make_float_sums_exact, replace

if TYPE_CHECKING:
    import onnx

CUT = 8.0
"""How much more the squared error of a value that is cut off counts than that of one that is rounded.

research/ compares 1 to 16.
"""

SHARES = np.linspace(0.3, 1, 36)
"""The parts of a tensor's greatest and least value between which its range is looked for."""

BINS = 8192
"""Into how many a tensor's values are counted."""


EVENED = 0.7
"""The power of the channels' sizes that is taken away: 1 would make them equal, and helps less (research/)."""


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
            size = [cells.whole(length, network.multiple_px) for length in photo.shape[2:]]
            network(torch.from_numpy(cells.fill(photo, out=np.empty((*photo.shape[:2], *size), photo.dtype))))
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
    network = runtimes.open_network("onnxruntime", content)

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
        unmatched = runner(runtimes.open_network("onnxruntime", model.SerializeToString()))
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
            replace(tensor, numpy_helper.to_array(tensor) * np.float32(full / along))
