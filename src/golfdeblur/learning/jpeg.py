"""JPEG compression as batched tensor code, so that pairs can be compressed on the device that makes them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nf
from torch import Tensor

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


def jpeg(x: Tensor, quality: float | Tensor, *, subsampled: bool = True) -> Tensor:
    """Return `x`, (B, 3, H, W) in [0, 1], as baseline JPEG of `quality` 1 to 100 would give it back.

    `quality` is one for all or (B,), one for each. `subsampled` halves the colours (4:2:0), else 4:4:4. The tables are
    those of the standard's Annex K; entropy coding loses nothing and is left out.
    """
    height, width = x.shape[-2:]
    padded = nf.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
    quality = torch.as_tensor(quality, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1, 1, 1)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    mix = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=x.device
    )
    planes = (
        torch.einsum("ij,bjhw->bihw", mix, padded * 255) - torch.tensor([128.0, 0, 0], device=x.device)[:, None, None]
    )
    luma = _quantise_blocks(planes[:, :1], _LUMA, scale)
    chroma = _quantise_blocks(nf.avg_pool2d(planes[:, 1:], 2) if subsampled else planes[:, 1:], _CHROMA, scale)
    if subsampled:
        chroma = nf.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    planes = torch.cat([luma + 128, chroma], 1)
    rgb = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(mix), planes)
    return (rgb.round() / 255).clamp(0, 1)[..., :height, :width]


def _quantise_blocks(planes: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """Round the 8x8 cosine transforms of `planes`, (B, C, H, W), to the table's steps times `scale`."""
    n = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * n[None, :] + 1) * n[:, None] / 16) / 2
    basis[0] /= math.sqrt(2)
    basis = basis.to(planes)
    step = (torch.tensor(table, dtype=planes.dtype, device=planes.device) * scale).round().clamp(1, 255)
    batch, channels, height, width = planes.shape
    blocks = planes.reshape(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ ((coefficients / step).round() * step) @ basis
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(planes.shape)
