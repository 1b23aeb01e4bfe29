"""The distances that training minimises, all between (B, 3, H, W) in [0, 1], all averaged to one value.

Source of the content loss: section 5.2 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mse(x: Tensor, sharp: Tensor) -> Tensor:
    """Return L_c = ||x - sharp||^2 / M in the paper's normalisation.

    Images in [-1, 1] with channels summed and M the number of pixels: 12 times the mean square on [0, 1].
    """
    return 12 * ((x - sharp) ** 2).mean()


def charbonnier(x: Tensor, sharp: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of sqrt((x - sharp)^2 + epsilon^2), a smooth L1 distance."""
    return torch.sqrt((x - sharp) ** 2 + epsilon**2).mean()


def log_mse(x: Tensor, sharp: Tensor) -> Tensor:
    """Return 4 + log10(mean square), the mean over the batch: (40 dB - PSNR) / 10 dB. It levels off
    above 40 dB and is never negative.

    Every image counts by its decibels, hard or easy. Without the levelling, pairs that are sharp on both sides would
    outweigh all others (research/).
    """
    return 4 + torch.log10(((x - sharp) ** 2).mean((1, 2, 3)) + 1e-4).mean()


CONTENT = {"mse": mse, "charbonnier": charbonnier, "log-mse": log_mse}
"""The content losses by the name that recipes use."""


def perceptual(x: Tensor, sharp: Tensor, features: nn.Module) -> Tensor:
    """Return L_p = ||P(x) - P(sharp)||^2 / (w h d), the mean square difference of the feature maps P."""
    return ((features(x) - features(sharp)) ** 2).mean()


class Loss(nn.Module):
    """The distance L = L_c + balance * L_p between an estimate and the sharp image.

    `content` names L_c; `features` is the frozen network P of the perceptual term, or None.
    """

    balance: Tensor

    def __init__(self, content: str, *, features: nn.Module | None, balance: float) -> None:
        super().__init__()
        self.content = CONTENT[content]
        self.features = features
        self.register_buffer("balance", torch.tensor(balance))

    def forward(self, x: Tensor, sharp: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms by name; their sum is L."""
        x = x.float()
        terms = {"content": self.content(x, sharp)}
        if self.features is not None:
            terms["perceptual"] = self.balance * perceptual(x, sharp, self.features)
        return terms

    @torch.no_grad()
    def measured_balance(self, x: Tensor, sharp: Tensor) -> Tensor:
        """Return the balance at which L_p is as large as L_c for these images (0 where L_p vanishes)."""
        if self.features is None:
            return torch.zeros(())
        found = perceptual(x.float(), sharp, self.features)
        return torch.where(found > 0, self.content(x.float(), sharp) / found, torch.zeros_like(found))
