"""What the networks are built of, each in the form that the runtimes compute fastest."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm with scale and shift, written out for torch.compile, which fuses it and keeps channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, (B, channels, H, W), with mean `bias` and standard deviation `weight` in every channel."""
        if not torch.compiler.is_compiling():
            return super().forward(input)
        x = input.float()
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        normal = (x - mean) * torch.rsqrt(variance + self.eps)
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(input.dtype)


class BasicBlock(nn.Module):
    """Add a six-layer branch to the shortcut: IN, ReLU, Conv 7x7, IN, ReLU, Conv 5x5.

    The paper's figure leaves the order open; with convolution first every branch would be non-negative, so this is
    the pre-activation reading (docs/paper-map.md). The shortcut is the identity, or, where the width changes, a 1x1
    convolution followed by instance norm.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            InstanceNorm(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_out, 7, padding=3, bias=False),
            InstanceNorm(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 5, padding=2, bias=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                InstanceNorm(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return shortcut + branch, (B, channels_out, H, W)."""
        return self.shortcut(x) + self.branch(x)


class ResidualBlock(nn.Module):
    """Compute x + conv(relu(conv(x))): plain, and fast on every runtime."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, in the shape of `x`, (B, channels, H, W)."""
        return x + self.second(torch.relu(self.first(x)))


class PixelShuffle(nn.PixelShuffle):
    """Rearrange (B, C u^2, H, W) to (B, C, u H, u W), in a form that onnxruntime computes in half the time."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the rearranged `input`; exported as two plain transpositions instead of one DepthToSpace."""
        if not torch.onnx.is_in_onnx_export():
            return super().forward(input)
        u = self.upscale_factor
        batch, channels, height, width = input.shape
        columns = input.reshape(batch, channels // u, u, height, width).permute(0, 1, 3, 4, 2)
        rows = columns.reshape(batch, channels // u**2, u, height, u * width).permute(0, 1, 3, 2, 4)
        return rows.reshape(batch, channels // u**2, u * height, u * width)
