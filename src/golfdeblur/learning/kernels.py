"""Kernels of camera shake by two further generators, beside the waves of `uniform.random_kernels`.

A network that sees one generator alone learns that generator. `random_trajectories` follows Boracchi and Foi, "Modeling
the performance of image restoration from motion blur" (IEEE Transactions on Image Processing, 2012): a particle of
constant speed with inertia, a random force, a pull back to where it began, and now and then a jerk that turns it about.
`random_hooks` draws what a press on the shutter does: a nearly straight streak with one hook at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from golfdeblur.learning.uniform import log_uniform, path_kernels, random_kernels, reach_px

STEPS = 256
"""Moments of an exposure. The source takes 2,000; what it adds at every one is scaled to fewer."""

LENGTH = 60.0
"""Length of a path before it is scaled, as the source's in pixels: only the pull depends on it."""

ANXIETY = (3e-4, 5e-3)
"""From a steady hand to a nervous one; drawn log-uniformly."""


def random_trajectories(generator: torch.Generator, batch: int, extent_px: tuple[float, float]) -> Tensor:
    """Draw (batch, K, K) kernels of sum 1 of particles with inertia and jerks, as `uniform.random_kernels` does."""
    merged = 2000 / STEPS
    anxiety = log_uniform(generator, batch, ANXIETY)[:, None]
    shake, pull, jerk, angle = torch.rand(4, batch, 1, generator=generator)
    force = 10 * shake * anxiety * math.sqrt(merged) * torch.randn(STEPS, batch, 2, generator=generator)
    jerked = torch.rand(STEPS, batch, 1, generator=generator) < 0.2 * jerk * anxiety * merged
    turns = math.pi + torch.rand(STEPS, batch, 1, generator=generator) - 0.5
    direction = _towards(2 * math.pi * angle)
    place = torch.zeros(batch, 2)
    places = [place]
    for step in range(STEPS - 1):
        heading = torch.atan2(direction[:, 1:], direction[:, :1])
        change = force[step] - 0.7 * pull * anxiety * merged * place
        change = change + torch.where(jerked[step], 2 * _towards(heading + turns[step]), 0.0)
        direction = torch.nn.functional.normalize(direction + change, dim=1)
        place = place + LENGTH / STEPS * direction
        places.append(place)
    extent = log_uniform(generator, batch, extent_px)
    return path_kernels(torch.stack(places, 2), extent, reach_px(extent_px[1]))


def random_hooks(generator: torch.Generator, batch: int, extent_px: tuple[float, float]) -> Tensor:
    """Draw (batch, K, K) kernels of sum 1: nearly straight, a hook of up to a third at one end, the speed uneven."""
    angle, hook, turn, bend, pace, side = torch.rand(6, batch, 1, generator=generator)
    time = torch.linspace(0, 1, STEPS) ** torch.exp(1.2 * (pace - 0.5))
    start = 1 - (0.1 + 0.25 * hook)
    # The hook's turn takes a third of its length, so that its corner is round.
    turned = ((time - start) / (1 - start) * 3).clamp(0, 1) * (0.8 + 1.8 * turn) * torch.where(side < 0.5, -1.0, 1.0)
    heading = 2 * math.pi * angle + 0.5 * (bend - 0.5) * time + turned
    step = torch.diff(time, prepend=time[:, :1])
    path = torch.stack([(step * torch.cos(heading)).cumsum(1), (step * torch.sin(heading)).cumsum(1)], 1)
    extent = log_uniform(generator, batch, extent_px)
    return path_kernels(path, extent, reach_px(extent_px[1]))


def _towards(angle: Tensor) -> Tensor:
    """Return the (B, 2) unit vectors of (B, 1) angles."""
    return torch.cat([torch.cos(angle), torch.sin(angle)], 1)


GENERATORS: dict[str, Callable[[torch.Generator, int, tuple[float, float]], Tensor]] = {
    "waves": random_kernels,
    "particle": random_trajectories,
    "hook": random_hooks,
}
"""All generators of shake, by name."""


def trimmed(kernel: Tensor) -> Tensor:
    """Return a square (K, K) kernel without its empty margin; the middle stays the middle, and the side odd."""
    middle = kernel.shape[-1] // 2
    rows, columns = torch.nonzero(kernel).unbind(1)
    reach = int(torch.maximum((rows - middle).abs().max(), (columns - middle).abs().max()))
    return kernel[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
