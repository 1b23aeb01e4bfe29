"""The learned descent direction as a picture, and whether its length is right.

Claim: r(x) = G(x) - x learns both the direction and the step size of the prior's descent (section 3, eqs. 9 and 11). If
so, the step x + t r(x) is best near t = 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from golfdeblur import metrics
from golfdeblur.experiments import pictures
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.model import load
from golfdeblur.sheet import grid

LENGTHS = tuple(np.round(np.arange(0.1, 2.01, 0.1), 1))
STROKES = 3
MOST_IMAGES = 24
SHOWN_GAIN = 20
"""Residuals are shown so many times larger, around grey."""


def run(settings: Settings) -> Result:
    """Find for every image and correction the best length of the step, and show the residuals of the first image."""
    f, g = pictures.f_and_g(load(settings.plain))
    best: list[list[float]] = [[] for _ in range(STROKES)]
    gains = np.zeros((STROKES, len(LENGTHS)))
    rows: list[list[tuple[str, np.ndarray]]] = []
    count = 0
    for name, y, sharp in pictures.pairs(settings, most=MOST_IMAGES):
        x = f(pictures.as_input(y))
        row = [(name[:30], pictures.crop(y)), ("x0", pictures.crop(pictures.as_pixels(x)))]
        for stroke in range(STROKES):
            residual = g(x) - x
            base = metrics.psnr(pictures.as_pixels(x), sharp)
            found = [metrics.psnr(pictures.as_pixels(x + np.float32(t) * residual), sharp) - base for t in LENGTHS]
            best[stroke].append(float(LENGTHS[int(np.argmax(found))]))
            gains[stroke] += found
            shown = pictures.as_pixels(0.5 + SHOWN_GAIN * residual)
            row.append((f"r(x{stroke}) x {SHOWN_GAIN}", pictures.crop(shown)))
            x = x + residual
        rows = rows or [row]
        count += 1
    gains /= count
    numbers: dict[str, Any] = {"images": count, "lengths": [float(t) for t in LENGTHS], "best_length": best}
    numbers["mean_gain_db"] = gains.tolist()
    first = np.array(best[0])
    near = float(np.mean(np.abs(first - 1) <= 0.3))
    numbers["share_near_1"] = near
    table = Table(
        f"Best t in (0, 2] over {count} images:",
        ("correction", "median of best t", "within 0.7 to 1.3", "gain at t = 1, dB", "at the best t, dB", "that t"),
        [
            (f"x{i} to x{i + 1}", float(np.median(best[i])), f"{np.mean(np.abs(np.array(best[i]) - 1) <= 0.3):.0%}",
             float(gains[i][LENGTHS.index(1.0)]), float(gains[i].max()), float(LENGTHS[int(gains[i].argmax())]))
            for i in range(STROKES)
        ],
    )  # fmt: skip
    verdict = (
        f"`{settings.plain}`: at the first correction the best length lies within 0.7 to 1.3 for {near:.0%} of {count} "
        f"images, its median is {np.median(first):.1f}; t = 1 gains {gains[0][LENGTHS.index(1.0)]:+.3f} dB, "
        f"the best common t {gains[0].max():+.3f} dB."
    )
    common = abs(float(LENGTHS[int(gains[0].argmax())]) - 1) <= 0.3
    claim = "r(x) has the right direction and the right length."
    figures = {"lengths": _figure(gains, best)}
    parts = {
        "a step along r(x) gains": bool(gains[0].max() > 0),
        "the best common length lies within 0.7 to 1.3": common,
    }
    return Result("gradient-field", claim, parts, verdict, numbers, [table], figures, {"residuals": grid(rows)})


def _figure(gains: np.ndarray, best: list[list[float]]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.arange(0.05, 2.1, 0.1)
    for stroke in range(STROKES):
        left.plot(LENGTHS, gains[stroke], marker=".", label=f"x{stroke} to x{stroke + 1}")
        right.hist(
            best[stroke],
            edges,
            weights=np.full(len(best[stroke]), 1 / len(best[stroke])),
            histtype="step",
            linewidth=2,
            label=f"x{stroke} to x{stroke + 1}",
        )
    left.axvline(1, color="grey", linewidth=0.8)
    left.set(xlabel="length t of the step x + t r(x)", ylabel="mean gain in PSNR, dB", title="Gain by length")
    right.set(xlabel="best t", ylabel="share of images", title="Each image's best length")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
