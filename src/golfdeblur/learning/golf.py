"""The Golf Optimizer: x_0 = F(y), then x_i = G(x_{i-1}), the same G again and again.

Source: section 3 of "A Deep Optimization Approach for Image Deconvolution" (Luo, Chen, Qian), eqs. 3, 4, 6, 11.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from golfdeblur.errors import ConfigError
from golfdeblur.learning import networks


class Propagator(nn.Module):
    """Take one aggressive step from the blurry image towards the sharp one, F(y) = y + f(y)."""

    def __init__(self, residual: networks.Residual) -> None:
        super().__init__()
        self.residual = residual

    def forward(self, y: Tensor) -> Tensor:
        """Return F(y) for `y` of (B, 3, H, W) in [0, 1]; the result is not clipped.

        Channels after the third are the network's own matter (`networks.ResidualUNet`).
        """
        return (y if y.shape[1] == 3 else y[:, :3]) + self.residual(y)


class Corrector(nn.Module):
    """Correct an estimate delicately, G(x) = x + r(x), where r(x) learns -grad prior(x) (eqs. 3, 9, 11)."""

    def __init__(self, residual: networks.Residual) -> None:
        super().__init__()
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Return G(x) for `x` of (B, 3, H, W) in [0, 1]; the result is not clipped.

        A fourth channel, the level of noise, is the network's own matter (`networks.ResidualUNet`); one that takes it
        is told 0 without.
        """
        if x.shape[1] == 3 and self.residual.channels == 4:
            x = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        return (x if x.shape[1] == 3 else x[:, :3]) + self.residual(x)

    def iterates(self, x: Tensor, steps: int) -> Iterator[Tensor]:
        """Yield G(x), G(G(x)), ..., `steps` of them (the compositions of eq. 4)."""
        for _ in range(steps):
            x = self(x)
            yield x


class GolfOptimizer(nn.Module):
    """Restore a blurry image with one `Propagator` step and N `Corrector` steps."""

    def __init__(self, f: Propagator, g: Corrector) -> None:
        super().__init__()
        self.f = f
        self.g = g

    @classmethod
    def preset(cls, name: str) -> GolfOptimizer:
        """Make the untrained model `paper` (Table 1) or `fast`.

        Raises ConfigError for any other name.
        """
        if name not in networks.PRESETS:
            raise ConfigError(f"Model '{name}' is unknown; use one of {', '.join(networks.PRESETS)}.")
        preset = networks.PRESETS[name]
        return cls(Propagator(networks.build(preset.f)), Corrector(networks.build(preset.g)))

    def iterates(self, y: Tensor, steps: int) -> Iterator[Tensor]:
        """Yield x_0 = F(y), x_1 = G(x_0), ..., x_steps; each is computed only when it is asked for."""
        x = self.f(y)
        yield x
        yield from self.g.iterates(x, steps)

    def forward(self, y: Tensor, steps: int = 3) -> Tensor:
        """Return x_steps; the paper uses N = 3 at test time."""
        x = y
        for x in self.iterates(y, steps):  # noqa: B007
            pass
        return x
