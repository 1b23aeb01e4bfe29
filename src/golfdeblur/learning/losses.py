"""The distances that training minimises, all between (B, 3, H, W) in [0, 1], all averaged to one value.

Source of the content loss: section 5.2 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import torch
from torch import Tensor


def mse(x: Tensor, sharp: Tensor) -> Tensor:
    """Return L_c = ||x - sharp||^2 / M in the paper's normalisation.

    Images in [-1, 1] with channels summed and M the number of pixels: 12 times the mean square on [0, 1].
    """
    return 12 * ((x - sharp) ** 2).mean()


def charbonnier(x: Tensor, sharp: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of sqrt((x - sharp)^2 + epsilon^2), a smooth L1 distance."""
    return torch.sqrt((x - sharp) ** 2 + epsilon**2).mean()


def psnr(x: Tensor, sharp: Tensor) -> Tensor:
    """Return the negative mean PSNR of the batch in units of 10 dB: log10 of each image's mean square."""
    return torch.log10(((x - sharp) ** 2).mean((1, 2, 3)) + 1e-6).mean()


def spectrum_l1(x: Tensor, sharp: Tensor) -> Tensor:
    """Return the mean |difference| of real and imaginary parts of the orthonormal 2-D Fourier transforms."""
    difference = torch.fft.rfft2((x - sharp).float(), norm="ortho")
    return torch.view_as_real(difference).abs().mean()


CONTENT = {"mse": mse, "charbonnier": charbonnier, "psnr": psnr}
"""The content losses by the name that recipes use."""
