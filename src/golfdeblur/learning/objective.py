"""What a run minimises: eq. 6 for the propagator F, eq. 4 for the corrector G, built from a recipe and its files.

Source: section 3 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from golfdeblur.errors import ConfigError
from golfdeblur.learning import checkpoint, golf, losses, networks, perceptual
from golfdeblur.learning.recipe import Recipe


@dataclass(frozen=True)
class Inputs:
    """The files of a run, which a recipe leaves open."""

    sources: dict[str, Path]
    """Every source of the recipe by its name."""
    validation: dict[str, Path] = field(default_factory=dict)
    """Folders of real pairs to judge by, beside the held-out photographs."""
    propagator: Path | None = None
    """The trained F.safetensors, for stage g."""
    initial: Path | None = None
    """The first weights of the network itself, to fine-tune."""
    features: Path | None = None
    """The weights of the perceptual loss's feature network."""

    def __post_init__(self) -> None:
        if "photos" in self.validation:
            raise ConfigError("'photos' is what the held-out photographs are called; give --validation another name.")


class Objective(nn.Module):
    """The loss of one batch: eq. 6 of a Propagator, eq. 4 of a Corrector from x_0 = frozen(y)."""

    def __init__(self, network: nn.Module, frozen: golf.Propagator | None, loss: losses.Loss, *, iterates: int) -> None:
        super().__init__()
        self.network = network
        self.frozen = frozen
        self.loss = loss
        self.iterates = iterates
        self.precision = "float32"
        """`bf16` or `float32`; a run settles it before its first step."""

    def forward(self, y: Tensor, sharp: Tensor) -> dict[str, Tensor]:
        """Return the terms of the loss by name, (B, 3, H, W) in [0, 1] given twice; their sum is minimised."""
        with torch.autocast(y.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            found = [self.loss(x, sharp) for x in self.estimates(self.network, y)]
        return {name: torch.stack([terms[name] for terms in found]).mean() for name in found[0]}

    def estimates(self, network: nn.Module, y: Tensor) -> Iterator[Tensor]:
        """Yield what `network` makes of `y`: F(y), or or the N iterates of G from x_0."""
        if self.frozen is None:
            yield network(y)
        else:
            with torch.no_grad():
                x = self.frozen(y)
            yield from cast(golf.Corrector, network).iterates(x, self.iterates)

    def judged(self, network: nn.Module, y: Tensor) -> Iterator[Tensor]:
        """Yield x_0, x_1, ...: the same, with x_0 before the iterates of G."""
        if self.frozen is not None:
            yield self.frozen(y)
        yield from self.estimates(network, y)


def build_objective(config: Recipe, inputs: Inputs) -> tuple[Objective, dict[str, Any]]:
    """Return what is minimised, and what the trained network's history starts with.

    Raises ConfigError where a file that the recipe needs is not given, or one that it has no use for is.
    """
    _check_files(config, inputs)
    preset = networks.PRESETS[config.model]
    spec = preset.f if config.stage == "f" else preset.g
    network = networks.build(spec)
    history: dict[str, Any] = {}
    if inputs.initial is not None:
        network, before = checkpoint.load_network(inputs.initial)
        if network.spec != spec:
            raise ConfigError(f"{inputs.initial} is another network ({network.spec}) than the recipe's ({spec}).")
        history["before"] = checkpoint.lineage(network, before)
    features = None
    if inputs.features is not None:
        features = perceptual.load_features(config.perceptual, inputs.features)
    loss = losses.Loss(config.content, features=features, balance=config.balance)
    module: nn.Module = golf.Propagator(network) if config.stage == "f" else golf.Corrector(network)
    frozen = None
    if inputs.propagator is not None:
        trained, _ = checkpoint.load_network(inputs.propagator)
        if trained.spec == preset.g:
            raise ConfigError(f"{inputs.propagator} is a corrector G; give the F.safetensors of its propagator.")
        frozen = golf.Propagator(trained).requires_grad_(False).eval()
        history["propagator_sha256"] = checkpoint.network_hash(trained)
    kind: type[Objective] = Objective
    if getattr(network, "level", False):
        from golfdeblur.learning.strokes import StrokesObjective  # which is made of this one

        kind = StrokesObjective
    return kind(module, frozen, loss, iterates=config.iterates), history


def _check_files(config: Recipe, inputs: Inputs) -> None:
    """Raise ConfigError unless --features and --propagator are given exactly where the recipe needs them."""
    perceptual_loss = config.perceptual != "none"
    if perceptual_loss and inputs.features is None:
        raise ConfigError(f"The recipe's perceptual loss needs {config.perceptual}; give its weights by --features.")
    if inputs.features is not None and not perceptual_loss:
        raise ConfigError(
            "--features is for a perceptual loss; leave it out, or add for example --set perceptual=vgg19."
        )
    if config.stage == "g" and inputs.propagator is None:
        raise ConfigError("Stage g needs a trained propagator; give --propagator RUN/F.safetensors.")
    if inputs.propagator is not None and config.stage == "f":
        raise ConfigError("--propagator is for a G behind it; leave it out, or give first weights by --initial.")


def compile_objective(objective: Objective, device: torch.device, *, processes: int = 1) -> Any:
    """Return `objective` compiled for `device`; one process alone on a graphics card replays CUDA graphs.

    They launch a step's thousand kernels as one and halve its time (research/), but write every result where the
    one before lay: copy what is to be kept. Several processes exchange gradients amid the step and go without them.
    """
    graphs = device.type == "cuda" and processes == 1
    return torch.compile(objective, mode="reduce-overhead" if graphs else "default")


@contextlib.contextmanager
def compiler_explained() -> Iterator[None]:
    """Raise ConfigError for what torch.compile could not do in this block."""
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import BackendCompilerFailed  # takes a second to import

        if not isinstance(error, BackendCompilerFailed):
            raise
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"torch.compile failed ({reason}); it needs a C++ compiler. Install one, or give --set compiled=false."
        ) from error
