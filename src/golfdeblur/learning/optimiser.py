"""The optimisers of a run: AdamW, and Muon for the kernels of hidden convolutions.

Muon source: Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the step's size
as in Liu et al., "Muon is scalable for LLM training" (arXiv 2502.16982), so that AdamW's learning rate fits both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from golfdeblur.learning import networks

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that takes all singular values near 1 in five rounds."""

UPDATE_RMS = 0.2
"""Root mean square of an update at lr 1: what AdamW's updates have in practice."""


class Muon(torch.optim.Optimizer):
    """Move each kernel by its momentum with all singular values made equal.

    Kernels, (out, in, h, w), are taken as matrices of out x (in h w). No direction of the weights grows faster than
    the others, so a network without normalisation bears a learning rate at which Adam's loss spikes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Make one step; there is no closure to evaluate."""
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in alike.items():
                # Kernels of one shape in one go: on a GPU the calls themselves are what takes the time.
                ahead = torch.stack([self._looked_ahead(p, group["momentum"]) for p in parameters])
                size = UPDATE_RMS * max(ahead.shape[1:]) ** 0.5
                for parameter, matrix in zip(parameters, orthogonalised(ahead), strict=True):
                    parameter.add_(matrix.reshape(shape), alpha=-group["lr"] * size)

    def _looked_ahead(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Update the kernel's average gradient, and return it a step further on."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        average = state["average"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(average, momentum).flatten(1)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return (..., m, n) matrices with nearly the same singular vectors and all singular values in 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Optimiser:
    """What a training loop needs of one or two torch optimisers that share a learning rate."""

    def __init__(self, network: nn.Module, kind: str, *, betas: tuple[float, float], weight_decay: float) -> None:
        hidden = hidden_kernels(network) if kind == "muon" else []
        known = {id(parameter) for parameter in hidden}
        others = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
        on_gpu = others[0].device.type == "cuda"
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, 1.0, betas, weight_decay=weight_decay, fused=on_gpu)
        ]
        if hidden:
            self.parts.append(Muon(hidden, lr=1.0))

    def step(self, lr: float) -> None:
        """Move all parameters along their gradients, which are then dropped."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on exactly."""
        return {str(i): part.state_dict() for i, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that `state_dict` returned."""
        for i, part in enumerate(self.parts):
            part.load_state_dict(state[str(i)])


def hidden_kernels(network: nn.Module) -> list[nn.Parameter]:
    """List the convolution kernels that do not touch pixels directly: without the first and last of every network."""
    found = []
    for part in [m for m in network.modules() if isinstance(m, networks.ResidualCNN | networks.ResidualUNet)]:
        kernels = [p for p in part.parameters() if p.requires_grad and p.ndim == 4]
        found += [p for p in kernels[1:] if p.shape[1] > 3 and p is not kernels[-1]]
    return found
