"""Run `golf train` with something that the package does not have, to compare it with what it has (research/2026-11.md).

    python research/scripts/alternatives.py WHAT[,WHAT] train RECIPE.toml ...

WHAT is `post`, the other reading of the paper's basic block (Conv, IN, ReLU twice, and IN before the projection);
`narrow`, the paper's F with G's 16 filters; `soap`, SOAP instead of Muon for the hidden kernels, which needs
`pip install --no-deps pytorch-optimizer` (4.1.0 here), and cannot resume; `any-crop`, crops of photographs wherever
they fall instead of where there is texture in focus; `as-is`, nothing. Needs the extra `train`.
"""

import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from golfdeblur.cli import main
from golfdeblur.errors import ConfigError
from golfdeblur.learning import layers, mixture, networks, optimiser


class PostActivationBlock(nn.Module):
    """The basic block with its branch in the other order: never negative, and of as many parameters."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 7, padding=3, bias=False),
            layers.InstanceNorm(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 5, padding=2, bias=False),
            layers.InstanceNorm(channels_out),
            nn.ReLU(),
        )
        projection = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Sequential(layers.InstanceNorm(channels_in), projection)

    def forward(self, x: Tensor) -> Tensor:
        """Return shortcut + branch, (B, channels_out, H, W)."""
        return self.shortcut(x) + self.branch(x)


class Soap:
    """SOAP with its published settings, on kernels taken as matrices of out x (in h w), in the place of Muon."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float) -> None:
        try:
            from pytorch_optimizer import SOAP
        except ImportError as error:
            raise ConfigError("SOAP is not installed; pip install --no-deps pytorch-optimizer.") from error
        self.kernels = list(parameters)
        self.matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in self.kernels]
        self.soap = SOAP(self.matrices, lr=lr, weight_decay=0.0)
        self.param_groups = self.soap.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """Move the kernels along their gradients."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            matrix.grad = kernel.grad.flatten(1).contiguous()
        self.soap.step()
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            kernel.copy_(matrix.reshape(kernel.shape))

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Drop the kernels' gradients."""
        for kernel in self.kernels:
            kernel.grad = None

    def state_dict(self) -> dict:
        """Return nothing: a run cannot be resumed."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Raise ConfigError."""
        raise ConfigError("A run with SOAP cannot be resumed; give another --out.")


def take(what: str) -> None:
    """Put one of the alternatives in its place."""
    if what == "post":
        networks.BasicBlock = PostActivationBlock
    elif what == "narrow":
        paper = networks.PRESETS["paper"]
        networks.PRESETS["paper"] = networks.Preset(f=paper.g, g=paper.g)
    elif what == "soap":
        optimiser.Muon = Soap
    elif what == "any-crop":
        mixture._in_focus = lambda *_: True
    elif what != "as-is":
        sys.exit(f"{what} is unknown; give post, narrow, soap, any-crop or as-is.")


if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        take(name)
    main()
