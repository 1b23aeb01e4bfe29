"""The speed of training: pixels a second of the bare step and of the whole loop, on this machine."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from golfdeblur.learning import checkpoint, networks
from golfdeblur.learning.data import Photo
from golfdeblur.learning.mixture import Batch, Mixture, workers_beside
from golfdeblur.learning.objective import Inputs, build_objective, compile_objective
from golfdeblur.learning.optimiser import Optimiser
from golfdeblur.learning.recipe import Recipe
from golfdeblur.learning.sources import PhotoSource

WARM_UP_STEPS = 3

Learn = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Speed:
    """Megapixels a second of one way to train."""

    precision: str
    mode: str
    layout: str
    step_mpx_per_s: float
    loop_mpx_per_s: float

    @property
    def share(self) -> float:
        """What the whole loop reaches of the bare step."""
        return self.loop_mpx_per_s / self.step_mpx_per_s


def training_speeds(config: Recipe, *, seconds: float = 10.0, compiled: bool = True) -> Iterator[Speed]:
    """Yield the speeds of float32 and bf16, eager and compiled, channels last and contiguous.

    The data are synthetic photographs in memory; the loop cuts patches and synthesises blur as a run does. Each
    figure is taken over `seconds`. Stage g runs behind an untrained propagator, which costs the same.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # as in a run
    for precision in ("float32", "bf16"):
        for mode in ("eager", "compiled") if compiled else ("eager",):
            for layout in (torch.contiguous_format, torch.channels_last):
                trial = dataclasses.replace(config, precision=precision, perceptual="none")
                learn = _learner(trial, device, compiled=mode == "compiled", layout=layout)
                photos = PhotoSource(_photos(config), config.blur)
                workers = workers_beside(device)
                mixture = Mixture([(photos, 1.0)], config.mixture, device, workers=workers)
                step = _rate(functools.partial(_same_batch, learn, mixture.batch(0)), config, seconds)
                loop = _rate(functools.partial(_next_batch, learn, mixture), config, seconds)
                name = "channels last" if layout == torch.channels_last else "contiguous"
                yield Speed(precision, mode, name, step, loop)


def _learner(config: Recipe, device: torch.device, *, compiled: bool, layout: torch.memory_format) -> Learn:
    with tempfile.TemporaryDirectory() as folder:
        propagator = Path(folder) / "F.safetensors"
        checkpoint.save_network(propagator, networks.build(networks.PRESETS[config.model].f), {})
        objective, _ = build_objective(config, Inputs({}, propagator=propagator if config.stage == "g" else None))
    objective.precision = config.precision
    objective = objective.to(device, memory_format=layout)  # type: ignore[call-overload]
    optimiser = Optimiser(objective.network, config.optimiser, betas=config.betas, weight_decay=config.weight_decay)
    forward = compile_objective(objective, device) if compiled else objective

    def learn(y: Tensor, sharp: Tensor) -> None:
        terms = forward(y.contiguous(memory_format=layout), sharp)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(objective.network.parameters(), 1.0)
        optimiser.step(1e-6)

    return learn


def _same_batch(learn: Learn, batch: Batch, step: int) -> None:
    learn(batch.blurry, batch.sharp)


def _next_batch(learn: Learn, mixture: Mixture, step: int) -> None:
    _same_batch(learn, mixture.batch(step), step)


def _rate(work: Callable[[int], None], config: Recipe, seconds: float) -> float:
    """Return the megapixels a second of `work`, called with 0, 1, 2, ..."""
    for index in range(WARM_UP_STEPS):
        work(index)
    _wait()
    started, done = time.perf_counter(), 0
    # Whole blocks, so that their synthesis counts in proportion.
    while time.perf_counter() - started < seconds or done % config.mixture.steps_per_block:
        work(WARM_UP_STEPS + done)
        done += 1
    _wait()
    pixels = done * config.mixture.batch * config.mixture.patch_px**2
    return pixels / (time.perf_counter() - started) / 1e6


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _photos(config: Recipe) -> list[Photo]:
    side = config.mixture.block_px + 2 * config.blur.margin_px + 64
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (8, 3, side, side), generator=generator, dtype=torch.uint8)
    return [Photo.of(str(index), x) for index, x in enumerate(pixels)]
