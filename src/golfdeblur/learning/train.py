"""Train F (eq. 6) or G (eq. 4): one loop, one frozen configuration, exact resume, any number of processes.

F minimises L(F(y), sharp). G minimises (1/N) sum_i L(G^(i)(x_0), sharp) over its own iterates from x_0 = F(y), with
F frozen.
Source: sections 3 and 5.2 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch import Tensor, nn

from golfdeblur import machine
from golfdeblur.errors import GolfError, Interrupted
from golfdeblur.learning import mixture as mixtures
from golfdeblur.learning import precision, sources
from golfdeblur.learning.clock import Clock, stop_signal
from golfdeblur.learning.objective import Inputs, Objective, build_objective, compile_objective, compiler_explained
from golfdeblur.learning.optimiser import Optimiser
from golfdeblur.learning.recipe import Recipe, learning_rate
from golfdeblur.learning.run import Run, commit, hardware
from golfdeblur.learning.validation import Validation, load_validation, mean_gain_db

DIVERGED = 5.0
"""A mean loss this many times the lowest one so far ends a run."""

BALANCE_BATCHES = 8
"""Batches on which the balance of the perceptual term is measured."""

Report = Callable[[dict[str, Any]], None]
Progress = Callable[[int, float], None]


def train(
    config: Recipe,
    inputs: Inputs,
    folder: Path,
    *,
    max_minutes: float = math.inf,
    report: Report = lambda row: None,
    progress: Progress = lambda step, seconds_left: None,
) -> Path | None:
    """Run `config` in `folder` and return the trained network's file, or None if `max_minutes` ended it before.

    It stops after `max_minutes`, and at SIGINT or SIGTERM after the step at hand; the same call again goes on, and
    the weights at the end are those of an unbroken run. `report` sees every row of log.jsonl, and notices; `progress`
    every step, with an estimate of the seconds that are left.
    Under `accelerate launch` or torchrun each process calls this; the first one reports and writes.
    Raises ConfigError, DataError and WeightsError for unusable input, Interrupted after a signal, GolfError if the
    loss diverges.
    """
    handlers = [DistributedDataParallelKwargs(broadcast_buffers=False)]
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=handlers)
    torch.set_num_threads(min(torch.get_num_threads(), machine.threads()))
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    objective, history = build_objective(config, inputs)
    loaded = sources.load_sources(config.sources, inputs.sources, config.blur, block_px=config.mixture.block_px)
    judge = load_validation(config, inputs, accelerator.device)
    training = _Training(config, accelerator, objective, Run(folder, config, origin=history, frozen=inputs.propagator))
    deadline = time.monotonic() + 60 * max_minutes
    training.report, training.progress = (report, progress) if training.main else (training.report, training.progress)
    return training.run(loaded, judge, history=history, deadline=deadline)


class _Training:
    """The state of one process of a run, and the loop over its steps."""

    def __init__(self, config: Recipe, accelerator: Accelerator, objective: Objective, run: Run) -> None:
        self.config = config
        self.accelerator = accelerator
        self.main = accelerator.is_main_process
        self.run_files = run
        cast(Any, objective).to(accelerator.device, memory_format=torch.channels_last)
        self.objective = objective
        self.network = objective.network
        self.averaged = copy.deepcopy(objective.network).requires_grad_(False)
        self.optimiser = Optimiser(self.network, config.optimiser, betas=config.betas, weight_decay=config.weight_decay)
        ready: Any = objective
        if config.compiled:
            ready = compile_objective(objective, accelerator.device, processes=accelerator.num_processes)
        self.prepared = accelerator.prepare_model(ready) if accelerator.num_processes > 1 else ready
        self.step, self.seconds = 0, 0.0
        self.best_gain_db, self.lowest_loss = -math.inf, math.inf
        self.window: list[dict[str, Tensor]] = []  # the loss terms of the steps since the last row of the log
        self.names: list[list[str]] = []  # and the files that their batches came from
        self.report: Report = lambda row: None
        self.progress: Progress = lambda step, seconds_left: None

    def run(
        self,
        loaded: list[tuple[sources.Source, float]],
        judge: Validation,
        *,
        history: dict[str, Any],
        deadline: float,
    ) -> Path | None:
        """Make all steps that remain, and return the weights' file in the first process if none is left."""
        self._settle_precision(self._resume())
        part = self.accelerator.process_index, self.accelerator.num_processes
        workers = mixtures.workers_beside(self.accelerator.device, self.accelerator.num_processes)
        mixture = mixtures.Mixture(
            loaded, self.config.mixture, self.accelerator.device, seed=self.config.seed, part=part, workers=workers
        )
        if self.config.perceptual != "none" and self.config.balance == 0 and self.step == 0:
            self._measure_balance(mixture)
        with stop_signal() as stopped:
            self._loop(mixture, judge, lambda: bool(stopped) or time.monotonic() > deadline)
        if self.step == self.config.steps:
            return self._finish(history) if self.main else None
        sentence = f"Stopped after step {self.step} of {self.config.steps}; the same command again goes on."
        if stopped:
            raise Interrupted(sentence)
        self.report({"notice": sentence})
        return None

    def _loop(self, mixture: mixtures.Mixture, judge: Validation, wishes_to_stop: Callable[[], bool]) -> None:
        """Step after step: learn, look at the loss, log, validate, save."""
        config = self.config
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        clock, leaves = Clock(), False
        # On a GPU a look at the loss would stop the queue of work, so there it is looked at with the log.
        check_every = 1 if self.accelerator.device.type == "cpu" else config.log_every
        while self.step < config.steps and not leaves:
            self._learn(mixture.batch(self.step))
            self.seconds = time.monotonic() - started
            self.progress(self.step, clock.seconds_a_step() * (config.steps - self.step))
            leaves = self._agreed(wishes_to_stop()) or self.step == config.steps
            saves = leaves or time.monotonic() - saved > 60 * config.checkpoint_minutes
            if saves or self.step % check_every == 0:
                self._stop_if_not_finite()
            if self.step % config.log_every == 0 or self.step == config.steps:
                self._log(clock.row(mixture, len(self.window)))
            due = self.step % config.validate_every == 0 or self.step == config.steps
            if self.main and judge.sets and due:
                with clock.paused():
                    self._validate(judge)
            if self.main and saves:
                self._save()
                saved = time.monotonic()

    def _learn(self, batch: mixtures.Batch) -> None:
        """Make one step of the optimiser and of the averaged weights."""
        y = batch.blurry.contiguous(memory_format=torch.channels_last)
        with compiler_explained():
            terms = self.prepared(y, batch.sharp)
        self.accelerator.backward(torch.stack(list(terms.values())).sum())
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimiser.step(learning_rate(self.config, self.step))
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay)
        # Copies: the next replay of a CUDA graph writes where this one wrote.
        self.window.append({name: value.detach().clone() for name, value in terms.items()})
        self.names.append(batch.names)
        self.step += 1

    def _log(self, speed: dict[str, float]) -> None:
        """Log the mean loss since the last row, over all processes; raise GolfError if it explodes."""
        means = {name: torch.stack([terms[name] for terms in self.window]).mean() for name in self.window[0]}
        if self.accelerator.num_processes > 1:
            means = cast(dict[str, Tensor], self.accelerator.reduce(means, "mean"))
        terms = {name: float(value) for name, value in means.items()}
        loss = sum(terms.values())
        self.window, self.names = [], []
        if loss > DIVERGED * self.lowest_loss:
            raise GolfError(
                self.run_files.diverged(f"rose to {loss:.4g}, {loss / self.lowest_loss:.0f} times its lowest value")
            )
        self.lowest_loss = min(self.lowest_loss, loss)
        if self.main:
            lr = learning_rate(self.config, self.step - 1)
            row = {"step": self.step, "loss": loss, "terms": terms, "lr": lr, **speed, "minutes": self.seconds / 60}
            self.run_files.log(row)
            self.report(row)

    def _validate(self, judge: Validation) -> None:
        """Score the averaged weights, keep them if they are the best so far, and write a contact sheet."""

        def iterates(y: Tensor) -> Iterator[Tensor]:
            return self.objective.judged(self.averaged, y)

        scores = judge.scores(iterates)
        gain_db = mean_gain_db(scores)
        if gain_db > self.best_gain_db:
            self.best_gain_db = gain_db
            kept = {"steps": self.step, "psnr_db": scores}
            self.run_files.save_network("best", cast(Any, self.averaged).residual, kept)
        self.run_files.sheet(self.step, judge.sheet(iterates))
        row = {"step": self.step, "psnr_db": scores, "minutes": self.seconds / 60}
        self.run_files.log(row)
        self.report(row)

    def _stop_if_not_finite(self) -> None:
        """Raise GolfError for the first step in the window whose loss is not a number."""
        first = self.step - len(self.names)
        for step, (names, terms) in enumerate(zip(self.names, self.window[-len(self.names) :], strict=True), first + 1):
            if bad := [value for value in terms.values() if not bool(torch.isfinite(value))]:
                shown = ", ".join(sorted(set(names)))
                raise GolfError(self.run_files.diverged(f"became {float(bad[0])} at step {step} on {shown}"))

    def _agreed(self, wish: bool) -> bool:
        """Return whether any process wishes it, in all processes alike."""
        if self.accelerator.num_processes == 1:
            return wish
        flag = torch.tensor(float(wish), device=self.accelerator.device)
        return bool(cast(Tensor, self.accelerator.reduce(flag, "sum")) > 0)

    def _measure_balance(self, mixture: mixtures.Mixture) -> None:
        found = []
        for step in range(BALANCE_BATCHES):
            batch = mixture.batch(step)
            x = next(iter(self.objective.estimates(self.network, batch.blurry)))
            found.append(self.objective.loss.measured_balance(x.detach(), batch.sharp))
        mean = torch.stack(found).mean()
        if self.accelerator.num_processes > 1:
            mean = cast(Tensor, self.accelerator.reduce(mean, "mean"))
        self.objective.loss.balance.copy_(mean)
        self.report(
            {"notice": f"The perceptual term gets the weight {float(mean):.4g}, measured to equal the content term."}
        )

    def _save(self) -> None:
        self.run_files.save_state(
            {
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "balance": self.objective.loss.balance,
                "precision": self.objective.precision,
                "window": self.window,
                "step": self.step,
                "seconds": self.seconds,
                "best_gain_db": self.best_gain_db,
                "lowest_loss": self.lowest_loss,
            }
        )

    def _settle_precision(self, before: str | None) -> None:
        """Choose the precision of all processes in the first one, and say so where the recipe does not."""
        chosen, sentence = None, None
        if self.main:
            chosen, sentence = precision.settle(self.config.precision, before, self.accelerator.device)
        self.objective.precision = self._shared(chosen)
        if sentence:
            self.report({"notice": sentence})

    def _shared(self, value: Any) -> Any:
        """Return the first process's `value` in all of them."""
        box = [value]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(box)
        return box[0]

    def _resume(self) -> str | None:
        """Go on from the run's state if there is one, and return its precision; the first process reads it for all."""
        state = None
        if self.main:
            self.run_files.create()
            state = self.run_files.load_state(lambda text: self.report({"notice": text}))
        state = self._shared(state)
        if self.main:
            self.run_files.forget_after(state["step"] if state else 0)
        if state is None:
            return None
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.objective.loss.balance.copy_(state["balance"])
        device = self.accelerator.device
        self.window = [{name: value.to(device) for name, value in terms.items()} for terms in state["window"]]
        self.step, self.seconds = state["step"], state["seconds"]
        self.best_gain_db, self.lowest_loss = state["best_gain_db"], state["lowest_loss"]
        return state["precision"]

    def _finish(self, history: dict[str, Any]) -> Path:
        history = {
            "commit": commit(),
            "recipe": dataclasses.asdict(self.config),
            "balance": float(self.objective.loss.balance),
            "precision": self.objective.precision,
            "steps": self.step,
            "hours": self.seconds / 3600,
            "hardware": f"{self.accelerator.num_processes} x {hardware(self.accelerator.device)}",
            **history,
        }
        return self.run_files.save_network(".", cast(Any, self.averaged).residual, history)
