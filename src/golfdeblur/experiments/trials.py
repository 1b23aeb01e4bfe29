"""Short trainings on patches of real pairs, for the experiments; the real one is `golfdeblur.learning.train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from golfdeblur.errors import DataError
from golfdeblur.experiments import pictures
from golfdeblur.experiments.report import Settings
from golfdeblur.learning import golf, networks, precision

HELD_OUT = 4
"""Every so manyth image is kept for measuring."""


@dataclass(frozen=True)
class Patches:
    """Blurry and sharp images, (3, H, W) in [0, 1] each, for training and for measuring."""

    train: list[tuple[Tensor, Tensor]]
    held_out: list[tuple[Tensor, Tensor]]

    def batch(self, generator: torch.Generator, *, count: int, side: int) -> tuple[Tensor, Tensor]:
        """Cut `count` random patches for training, (count, 3, side, side) twice."""
        cuts = []
        for _ in range(count):
            y, sharp = self.train[int(torch.randint(len(self.train), (), generator=generator))]
            top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in y.shape[1:])
            cuts.append((y[:, top : top + side, left : left + side], sharp[:, top : top + side, left : left + side]))
        blurry, clean = zip(*cuts, strict=True)
        return torch.stack(blurry), torch.stack(clean)


def patches(settings: Settings, *, side: int, most: int) -> Patches:
    """Read the pairs of the settings. Raises DataError where they are fewer than two or smaller than `side`."""
    found = []
    for name, y, sharp in pictures.pairs(settings, most=most):
        if min(y.shape[:2]) < side:
            raise DataError(f"{name} is smaller than the {side} px of a patch; give larger pairs.")
        blurry, clean = (torch.from_numpy(pictures.as_input(pictures.crop(x, 512))[0].copy()) for x in (y, sharp))
        found.append((blurry, clean))
    if len(found) < 2:
        raise DataError(f"{len(found)} pairs are too few to train and measure on; give at least two.")
    every = min(HELD_OUT, len(found))
    held_out = [pair for i, pair in enumerate(found) if i % every == 0]
    return Patches([pair for i, pair in enumerate(found) if i % every], held_out)


def propagator(name: str, seed: int, *, identity: bool) -> golf.Propagator:
    """Make an untrained F of `fast` or `paper`; unless it is to start at the `identity`, with a random last layer."""
    torch.manual_seed(seed)
    network = networks.build(networks.PRESETS[name].f)
    if not identity:
        last = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1]
        last.reset_parameters()
    return golf.Propagator(network)


def fit(
    network: nn.Module, batches: Callable[[int], tuple[Tensor, Tensor]], loss: nn.Module, steps: range, *, lr: float
) -> None:
    """Minimise the sum of `loss`'s terms over the batches of `steps`, with AdamW and a clipped gradient."""
    chosen, _ = precision.settle("auto", None, torch.device("cpu"))
    optimiser = torch.optim.AdamW(network.parameters(), lr, (0.9, 0.99))
    for step in steps:
        y, sharp = batches(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=chosen == "bf16"):
            terms = loss(network(y), sharp)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.05)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


@torch.no_grad()
def mean_psnr_db(network: Callable[[Tensor], Tensor], pairs: list[tuple[Tensor, Tensor]], multiple_px: int) -> float:
    """Return the mean PSNR in dB of `network` from the first to the second of each pair, cut to whole cells.

    It is infinite where one is equal.
    """
    found = []
    for given, target in pairs:
        height, width = (n // multiple_px * multiple_px for n in given.shape[1:])
        out = network(given[None, :, :height, :width]).clamp(0, 1)
        error = float(((out - target[None, :, :height, :width]) ** 2).mean())
        found.append(-10 * np.log10(error) if error else np.inf)
    return float(np.mean(found))
