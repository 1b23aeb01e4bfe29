"""F and G in deepinv: F as a `Reconstructor`, G as a `Denoiser` for its plug-and-play and RED priors.

Written against deepinv 0.5. deepinv brings torchvision, so it lives in an environment of its own.
"""

from __future__ import annotations

from typing import Any

from deepinv.models import Denoiser, Reconstructor
from torch import Tensor

from golfdeblur.bridges.whole import any_size, whole_of
from golfdeblur.errors import ConfigError
from golfdeblur.golf import STEPS
from golfdeblur.weights import Weights


class GolfReconstructor(Reconstructor):
    """F and `steps` corrections, from a blurry image to a sharper one; 0 is F alone. It needs no physics."""

    def __init__(self, weights: Weights, *, steps: int = STEPS) -> None:
        super().__init__()
        self.whole = whole_of(weights, steps=steps)

    def forward(self, y: Tensor, physics: Any = None, **_: Any) -> Tensor:
        """Return the deblurred `y`, (B, 3, H, W) in [0, 1]; what else deepinv's loops hand over is not looked at."""
        return self.whole(y)


class CorrectorDenoiser(Denoiser):
    """G(x) = x + r(x) in the place of a denoiser.

    G was trained on results of F, not on noise: it has no noise level, and takes no noise away.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        g = whole_of(weights).g
        if g is None:
            raise ConfigError(f"Model '{weights.name}' has no corrector; take one that has.")
        self.g = g

    def forward(self, x: Tensor, sigma: Any = None, **_: Any) -> Tensor:
        """Return G(x) for `x`, (B, 3, H, W) in [0, 1], whatever `sigma` is."""
        return any_size(self.g, x)
