"""Catastrophic forgetting: Fig. 5, and why F is separate from G.

Task 1 is the identity on sharp images, measured by the PSNR of F(sharp); task 2 is deblurring, measured by the PSNR of
F(y) minus that of y. Claim: (a) task 2 after task 1 destroys task 1; (b) task 2 alone deblurs a little; (c) task 1
after task 2 destroys task 2; (d) both at once hardly deblur.

(d) is followed for longer, beside task 2 alone: where does it stop holding? The embedded F was trained on both tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from golfdeblur.experiments import trials
from golfdeblur.experiments.report import Result, Settings, Table, mean_and_spread
from golfdeblur.learning import losses
from golfdeblur.model import load

PANELS = {"a": ("1", "2"), "b": ("2",), "c": ("2", "1"), "d": ("12",)}
TITLES = {"a": "(a) task 1, then 2", "b": "(b) task 2", "c": "(c) task 2, then 1", "d": "(d) both at once"}
STEPS, MEASURE_EVERY = 400, 50
BATCH, SIDE, LR = 8, 96, 6e-4
IMAGES, SEEDS = 40, 3
LONGER = 4
"""The runs that look where (d) ends take so many times the steps of a task, with one seed."""
HARDLY = 0.5
"""Less than this share of the gain of task 2 alone is called hardly deblurring."""


def run(settings: Settings) -> Result:
    """Train F on the tasks in the four orders, with several seeds."""
    steps, every, side = (4, 2, 32) if settings.quick else (STEPS, MEASURE_EVERY, SIDE)
    seeds = 1 if settings.quick else min(settings.seeds, SEEDS)
    found = trials.patches(settings, side=side, most=IMAGES)
    curves = {
        panel: [_train(settings.trained, tasks, found, seed, (steps, every, side)) for seed in range(seeds)]
        for panel, tasks in PANELS.items()
    }
    last = {panel: [[float(v) for v in curve[-1][1:]] for curve in runs] for panel, runs in curves.items()}
    half = {panel: [curve[len(curve) // 2][1:] for curve in curves[panel]] for panel in ("a", "c")}
    numbers: dict[str, Any] = {
        "seeds": seeds,
        "steps_per_task": steps,
        "identity_lost_in_a_db": mean_and_spread([h[0] - e[0] for h, e in zip(half["a"], last["a"], strict=True)]),
        "deblurring_in_b_db": mean_and_spread([e[1] for e in last["b"]]),
        "deblurring_lost_in_c_db": mean_and_spread([h[1] - e[1] for h, e in zip(half["c"], last["c"], strict=True)]),
        "deblurring_in_d_db": mean_and_spread([e[1] for e in last["d"]]),
        "identity_in_d_db": mean_and_spread([e[0] for e in last["d"]]),
        "curves": {panel: np.mean(runs, axis=0).tolist() for panel, runs in curves.items()},
    }
    alone, joint = (_train(settings.trained, (task,), found, 0, (LONGER * steps, every, side)) for task in ("2", "12"))
    ends = next((int(b[0]) for a, b in zip(alone[1:], joint[1:], strict=True) if b[2] >= HARDLY * max(a[2], 0.1)), None)
    embedded = _embedded(settings.model, found)
    numbers |= {"longer": {"2": alone, "12": joint}, "d_ends_after_steps": ends, "embedded_db": embedded}
    means = {key: value["mean"] for key, value in numbers.items() if isinstance(value, dict) and "mean" in value}
    parts = {
        "(a) task 2 after task 1 destroys task 1": means["identity_lost_in_a_db"] > 1,
        "(c) task 1 after task 2 destroys task 2": means["deblurring_lost_in_c_db"] > 0.1,
        f"(d) both at once hardly deblur, after {steps} steps":
            means["deblurring_in_d_db"] < HARDLY * means["deblurring_in_b_db"],
        f"(d) still after {LONGER * steps} steps": ends is None,
        f"(d) for the F of `{settings.model}`, trained on both for long": embedded["gain"] < HARDLY,
    }  # fmt: skip
    verdict = (
        f"Task 2 after task 1 costs the identity {means['identity_lost_in_a_db']:.1f} dB; task 1 after task 2 costs "
        f"the deblurring {means['deblurring_lost_in_c_db']:.2f} dB; both at once deblur by "
        f"{means['deblurring_in_d_db']:+.2f} dB against {means['deblurring_in_b_db']:+.2f} alone, and keep sharp "
        f"images at {means['identity_in_d_db']:.1f} dB, after {steps} steps. In longer runs that "
        + (f"ends after {ends} steps. " if ends else f"holds to the end, {LONGER * steps} steps. ")
        + f"The F of `{settings.model}`, which was trained with sharp pairs mixed in, gains {embedded['gain']:.2f} dB "
        f"and returns sharp images at {embedded['identity']:.1f} dB."
    )
    rows = [
        (key.replace("_", " "), v["mean"], v["spread"])
        for key, v in numbers.items()
        if isinstance(v, dict) and "mean" in v
    ]
    table = Table(f"{settings.trained}, {steps} steps a task, {seeds} seeds:", ("figure", "mean", "spread"), rows)
    claim = "training the second task destroys the first, and both at once hardly deblur; so F is separate from G."
    figures = {"forgetting": _figure(numbers["curves"], steps), "longer": _longer(alone, joint)}
    return Result("forgetting", claim, parts, verdict, numbers, [table], figures)


def _embedded(model: str, found: trials.Patches) -> dict[str, float]:
    """Return what the trained F gains on the images that are measured, and the PSNR of sharp ones, both in dB."""
    f = load(model).f

    def network(x: Tensor) -> Tensor:
        return torch.from_numpy(f(x.numpy()))

    blurry = trials.mean_psnr_db(lambda y: y, found.held_out, 8)
    identity = [(sharp, sharp) for _, sharp in found.held_out]
    gain = trials.mean_psnr_db(network, found.held_out, 8) - blurry
    return {"gain": gain, "identity": trials.mean_psnr_db(network, identity, 8)}


def _train(
    name: str, tasks: tuple[str, ...], found: trials.Patches, seed: int, sizes: tuple[int, int, int]
) -> list[tuple[float, float, float]]:
    """Return (step, PSNR of the identity, gain of deblurring) along the training."""
    steps, every, side = sizes
    network = trials.propagator(name, seed, identity=False)
    generator = torch.Generator().manual_seed(seed)
    loss = losses.Loss("charbonnier", features=None, balance=0)
    multiple = network.residual.multiple_px
    identity = [(sharp, sharp) for _, sharp in found.held_out]
    blurry = trials.mean_psnr_db(lambda y: y, found.held_out, multiple)

    def measured(step: int) -> tuple[float, float, float]:
        sharp_db = trials.mean_psnr_db(network, identity, multiple)
        return float(step), sharp_db, trials.mean_psnr_db(network, found.held_out, multiple) - blurry

    curve = [measured(0)]
    for index, task in enumerate(tasks):

        def batches(step: int, task: str = task) -> tuple[Tensor, Tensor]:
            y, sharp = found.batch(generator, count=BATCH, side=side)
            return {"1": (sharp, sharp), "2": (y, sharp)}.get(task) or _mixed(y, sharp)

        for first in range(0, steps, every):
            trials.fit(network, batches, loss, range(first, first + every), lr=LR)
            curve.append(measured(index * steps + first + every))
    return curve


def _mixed(y: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """Replace every other blurry image by the sharp one."""
    half = torch.arange(len(y)) % 2 == 0
    return torch.where(half[:, None, None, None], sharp, y), sharp


def _figure(curves: dict[str, list[list[float]]], steps: int) -> Figure:
    figure = Figure(figsize=(13, 7), layout="constrained")
    for axes, (panel, curve) in zip(figure.subplots(2, 2).flat, curves.items(), strict=True):
        step, identity, gain = zip(*curve, strict=True)
        axes.plot(step, identity, color="C0", marker=".")
        axes.set(title=TITLES[panel], xlabel="step")
        axes.set_ylabel("PSNR of F(sharp), dB", color="C0")
        right = axes.twinx()
        right.plot(step, gain, color="C1", marker=".")
        right.axhline(0, color="C1", linewidth=0.5)
        right.set_ylabel("PSNR of F(y) minus that of y, dB", color="C1")
        if len(PANELS[panel]) > 1:
            axes.axvline(steps, color="grey", linestyle="--")
    return figure


def _longer(alone: list[tuple[float, float, float]], joint: list[tuple[float, float, float]]) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, index, label in zip(
        figure.subplots(1, 2), (2, 1), ("PSNR of F(y) minus that of y, dB", "PSNR of F(sharp), dB"), strict=True
    ):
        for curve, name, style in ((alone, "task 2 alone", "--"), (joint, "both at once", "-")):
            axes.plot([row[0] for row in curve[1:]], [row[index] for row in curve[1:]], style, label=name)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
