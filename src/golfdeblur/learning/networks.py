"""The residual networks f and r inside the propagator F(y) = y + f(y) and the corrector G(x) = x + r(x).

`ResidualCNN` is Table 1 of "A Deep Optimization Approach for Image Deconvolution" (Luo, Chen, Qian), stage by
stage. `ResidualUNet` is the `fast` model's: no instance norm, a finite receptive field, an eighth of the work.
Both map (B, 3, H, W) in [0, 1] to a residual of the same shape, and start at zero, so that F and G start at the
identity.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from golfdeblur.engine import cells
from golfdeblur.errors import ConfigError
from golfdeblur.learning.layers import BasicBlock, PixelShuffle, ResidualBlock


class ResidualCNN(nn.Module):
    """The paper's network of Table 1: Conv 7x7, four pairs of basic blocks, Conv 7x7.

    The text gives the last convolution a 3x3 kernel; the 441 parameters of Table 1 need 7x7, and the table wins.
    """

    multiple_px = 1
    """Height and width may be any multiple of this."""

    receptive_field_px: int | None = None
    """Instance norm takes its statistics from the whole image: every pixel depends on every other."""

    overlap_px: int | None = None
    """No overlap gives a part of the image the whole image's values."""

    channels = 3
    scales = 1

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {"network": "residual-cnn", "filters": filters}
        self.head = nn.Conv2d(3, filters, 7, padding=3, bias=False)
        pairs = [(filters, filters)] * 3 + [(filters, 3)]
        self.stages = nn.ModuleList(nn.Sequential(BasicBlock(a, b), BasicBlock(b, b)) for a, b in pairs)
        self.tail = nn.Conv2d(3, 3, 7, padding=3, bias=False)
        nn.init.zeros_(self.tail.weight)

    @property
    def bytes_per_px(self) -> int:
        """Memory that a runtime takes for each pixel: at most six feature maps of float32, and the images."""
        return 6 * 4 * self.spec["filters"] + 36

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual of `x`, (B, 3, H, W) in [0, 1], in the same shape."""
        hidden = self.head(x)
        for stage in self.stages:
            hidden = stage(hidden)
        return self.tail(hidden)


class ResidualUNet(nn.Module):
    """Map an image to its residual with a U-Net of plain convolutions on the pixel-unshuffled image.

    `widths[i]` channels and `blocks[i]` residual blocks at 1/u, 1/2u, 1/4u, ... of the resolution, u = `unshuffle`;
    every level but the last has its blocks twice, on the way down and on the way up. Skips are additions.

    With `scales` above 1 the same weights first see the image at half the size, there a quarter if `scales` is 3, and
    so on: their residual, enlarged, is three more channels of the input. A long blur is a short one at half the size.
    At every scale the image is continued to whole multiples of `multiple_px`, as `engine.runner.Runner` does it.
    """

    def __init__(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], *, unshuffle: int = 2, scales: int = 1
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks) or not widths:
            raise ConfigError(
                f"widths {widths} and blocks {blocks} must have one entry per level; give as many of each."
            )
        self.spec: dict[str, Any] = {
            "network": "residual-unet",
            "widths": list(widths),
            "blocks": list(blocks),
            "unshuffle": unshuffle,
            **({"scales": scales} if scales > 1 else {}),
        }
        self.scales = scales
        self.blocks = tuple(blocks)
        self.unshuffle = unshuffle
        # Pixel-unshuffle by u and then a 3x3 convolution is one 3u x 3u convolution with stride u.
        self.head = nn.Conv2d(self.channels, widths[0], 3 * unshuffle, stride=unshuffle, padding=unshuffle)
        self.encoders = nn.ModuleList(_chain(width, n) for width, n in zip(widths, blocks, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in _neighbours(widths))
        self.ups = nn.ModuleList(nn.Sequential(nn.Conv2d(b, 4 * a, 1), PixelShuffle(2)) for a, b in _neighbours(widths))
        self.decoders = nn.ModuleList(_chain(width, n) for width, n in zip(widths[:-1], blocks[:-1], strict=True))
        last = nn.Conv2d(widths[0], 3 * unshuffle**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.tail = nn.Sequential(last, PixelShuffle(unshuffle))

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual of `x`, (B, 3, H, W) in [0, 1], H and W multiples of `multiple_px`.

        Where there are several scales, any H and W will do, and (B, 6, H, W), multiples of one scale's cell, brings the
        enlarged residual of half the size along.
        """
        return self._one_scale(x) if x.shape[1] == self.channels else self._many_scales(x, self.scales)

    @property
    def channels(self) -> int:
        """Of what one scale sees: the image, and the residual of half the size if there are several scales."""
        return 3 if self.scales == 1 else 6

    def _many_scales(self, x: Tensor, scales: int) -> Tensor:
        height, width = x.shape[-2:]
        x = continued(continued(x, -2, self.multiple_px), -1, self.multiple_px)
        hint = torch.zeros_like(x)
        if scales > 1:
            coarse = self._many_scales(nn.functional.avg_pool2d(x, 2), scales - 1)
            hint = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest").to(x.dtype)
        return self._one_scale(torch.cat([x, hint], 1))[..., :height, :width]

    def _one_scale(self, x: Tensor) -> Tensor:
        hidden = self.encoders[0](self.head(x))
        skips: list[Tensor] = []
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            skips.append(hidden)
            hidden = encoder(down(hidden))
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            hidden = decoder(up(hidden) + skips.pop())
        return self.tail(hidden)

    @property
    def multiple_px(self) -> int:
        """Height and width must be multiples of this: one cell of the coarsest level, two where a half is made."""
        return self._cell_px * min(self.scales, 2)

    @property
    def _cell_px(self) -> int:
        return self.unshuffle * 2 ** (len(self.blocks) - 1)

    @property
    def bytes_per_px(self) -> int:
        """Memory that a runtime takes for each pixel: four feature maps of float32 (measured), and the images."""
        return 4 * 4 * self.spec["widths"][0] // self.unshuffle**2 + 24 + 4 * self.channels

    @property
    def receptive_field_px(self) -> int:
        """How far, in pixels, the input of one scale that one output pixel depends on can lie from it.

        Found by following the interval of cells that an output pixel needs, down the decoders and up the encoders.
        """
        return max(
            max(pixel - low, high - pixel) for pixel in range(self._cell_px) for low, high in [self._needs(pixel)]
        )

    @property
    def overlap_px(self) -> int:
        """How far parts of an image must reach beyond what is kept of them, both in whole cells (`tiles`).

        A little less than the receptive field: the pixels that reach furthest do not lie at the edge of their cell.
        """
        needs = [self._needs(pixel) for pixel in range(self._cell_px)]
        return cells.whole(max(max(-low, high - self._cell_px + 1) for low, high in needs), self.multiple_px)

    def _needs(self, pixel: int) -> tuple[int, int]:
        spans = [2 * n for n in self.blocks]  # cells that a level's 3x3 convolutions reach to either side
        low = high = pixel // self.unshuffle
        low, high = low - 1, high + 1  # tail
        reached = []
        for span in spans[:-1]:
            low, high = low - span, high + span
            reached.append((low, high))  # the skip needs these cells of the encoder's output
            low, high = low // 2, high // 2
        low, high = low - spans[-1], high + spans[-1]
        for span, (skip_low, skip_high) in zip(reversed(spans[:-1]), reversed(reached), strict=True):
            low, high = min(2 * low, skip_low) - span, max(2 * high + 1, skip_high) + span
        low, high = low - 1, high + 1  # head
        return self.unshuffle * low, self.unshuffle * (high + 1) - 1


def continued(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Return `x` with one axis continued to a multiple of `multiple`: mirrored, the last pixel twice."""
    length = x.shape[axis]
    if length % multiple == 0:
        return x
    place = torch.arange(length + -length % multiple, device=x.device) % (2 * length)
    return x.index_select(axis, torch.minimum(place, 2 * length - 1 - place))


def _chain(channels: int, length: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(length)))


def _neighbours(widths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise(widths)


Residual = ResidualCNN | ResidualUNet
"""What F and G add to their input, as a module of torch: f(y) and r(x)."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """The specs of the pair of networks that make one model."""

    f: dict
    g: dict


PRESETS = {
    "paper": Preset(
        f={"network": "residual-cnn", "filters": 32},
        g={"network": "residual-cnn", "filters": 16},
    ),
    "fast": Preset(
        f={"network": "residual-unet", "widths": [32, 48, 80], "blocks": [3, 2, 2], "unshuffle": 2, "scales": 4},
        g={"network": "residual-unet", "widths": [16, 24], "blocks": [1, 1], "unshuffle": 4},
    ),
    # A sixteenth of the work of `fast`: for a first try, and for tests.
    "tiny": Preset(
        f={"network": "residual-unet", "widths": [12, 20], "blocks": [1, 1], "unshuffle": 2, "scales": 2},
        g={"network": "residual-unet", "widths": [8, 12], "blocks": [1, 1], "unshuffle": 4},
    ),
}


def build(spec: dict) -> Residual:
    """Make the network that `spec` describes, as stored in checkpoints and config.json.

    Raises ConfigError for a network of an unknown kind.
    """
    kind = spec.get("network")
    if kind == "residual-cnn":
        return ResidualCNN(spec["filters"])
    if kind == "residual-unet":
        return ResidualUNet(
            tuple(spec["widths"]), tuple(spec["blocks"]), unshuffle=spec["unshuffle"], scales=spec.get("scales", 1)
        )
    raise ConfigError(f"Network '{kind}' is unknown; use 'residual-cnn' or 'residual-unet'.")


def macs_per_px(network: Residual) -> float:
    """Return the multiplications and additions of all convolutions for each pixel of the image."""
    side, total = 8 * network.multiple_px, 0

    def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        total += out.numel() * cast(nn.Conv2d, module).weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total / side**2


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values in `module`."""
    return sum(p.numel() for p in module.parameters())
