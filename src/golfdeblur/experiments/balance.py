"""The balance of content and perceptual loss: section 5.2, Fig. 8.

Claim: with the same budget, a content-heavy loss leaves blur, a perceptual-heavy one makes ghosts, and one with far too
little content shifts the colours; lambda is best where both terms are of one size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from golfdeblur import metrics
from golfdeblur.errors import ConfigError
from golfdeblur.experiments import pictures, trials
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.learning import golf, losses, perceptual
from golfdeblur.sheet import grid

FACTORS = {"content alone": 0.0, "a tenth": 0.1, "measured (equal)": 1.0, "hundredfold": 100.0}
"""Lambda, as multiples of the measured one, at which both terms are equal."""
STEPS, BATCH, SIDE, LR, IMAGES = 500, 4, 128, 6e-4, 40
SHOWN = 3


def run(settings: Settings) -> Result:
    """Train F with four lambdas from the same start on the same batches."""
    steps, side = (3, 32) if settings.quick else (STEPS, SIDE)
    found = trials.patches(settings, side=side, most=IMAGES)
    features = _features(settings)
    equal = _measured_balance(found, features, side)
    rows: list[tuple[Any, ...]] = []
    shown: list[list[tuple[str, np.ndarray]]] = [[] for _ in found.held_out[:SHOWN]]
    for label, factor in FACTORS.items():
        network = _train(settings.trained, found, features, (factor * equal, steps, side))
        outputs = [_restored(network, y) for y, _ in found.held_out]
        targets = [_pixels(sharp) for _, sharp in found.held_out]
        rows.append((label, factor * equal, *_scores(outputs, targets)))
        for row, output in zip(shown, outputs, strict=False):
            row.append((label, output))
    inputs, targets = ([_pixels(pair[i]) for pair in found.held_out] for i in (0, 1))
    rows += [("blurry input", None, *_scores(inputs, targets)), ("sharp", None, *_scores(targets, targets))]
    header = ("lambda", "value", "PSNR, dB", "sharpness / that of sharp", "histogram distance")
    table = Table(f"{settings.trained}, {steps} steps each, {len(targets)} held-out images:", header, rows)
    by_name = {row[0]: row for row in rows}
    content, heavy = by_name["content alone"], by_name["hundredfold"]
    measured = by_name["measured (equal)"]
    held = {
        "content-heavy is the blurriest": content[3] < measured[3] and content[3] < heavy[3],
        "perceptual-heavy costs PSNR": heavy[2] < measured[2],
        "far too little content shifts the histogram": heavy[4] > 1.2 * content[4],
    }
    verdict = (
        f"Measured lambda {equal:.3g}. Content alone: {content[2]:.2f} dB, {content[3]:.0%} of the sharpness; a "
        f"hundred "
        f"times the measured lambda: {heavy[2]:.2f} dB, {heavy[3]:.0%} of the sharpness, histogram "
        f"distance {heavy[4]:.3f} against {content[4]:.3f}."
    )
    numbers: dict[str, Any] = {
        "measured_lambda": equal,
        "steps": steps,
        "rows": [dict(zip(header, row, strict=True)) for row in rows],
    }
    claim = (
        "content-heavy is blurry, perceptual-heavy shows ghosts, far too little content shifts the colour histogram."
    )
    strip = _strip(shown, found)
    return Result(
        "balance",
        claim,
        held,
        verdict,
        numbers,
        [table],
        {"balance": _figure(rows)},
        {"crops": strip},
    )


def _features(settings: Settings) -> nn.Module:
    if settings.features is not None:
        return perceptual.load_features("vgg19", settings.features)
    if not settings.quick:
        raise ConfigError("This experiment needs VGG-19's features up to conv3_1; give their file by --features.")
    torch.manual_seed(0)
    return perceptual.VGG19().requires_grad_(False)  # random weights: enough to see that everything runs


def _measured_balance(found: trials.Patches, features: nn.Module, side: int) -> float:
    loss = losses.Loss("mse", features=features, balance=0)
    y, sharp = found.batch(torch.Generator().manual_seed(0), count=8, side=side)
    return float(loss.measured_balance(y, sharp))


def _train(name: str, found: trials.Patches, features: nn.Module, how: tuple[float, int, int]) -> golf.Propagator:
    balance, steps, side = how
    network = trials.propagator(name, 0, identity=True)
    generator = torch.Generator().manual_seed(1)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        return found.batch(generator, count=BATCH, side=side)

    loss = losses.Loss("mse", features=features if balance else None, balance=balance)
    trials.fit(network, batches, loss, range(steps), lr=LR)
    return network


@torch.no_grad()
def _restored(network: golf.Propagator, y: Tensor) -> np.ndarray:
    multiple = network.residual.multiple_px
    height, width = y.shape[1:]
    padded = nn.functional.pad(y[None], (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return _pixels(network(padded)[0, :, :height, :width])


def _pixels(x: Tensor) -> np.ndarray:
    return pictures.as_pixels(x[None].numpy())


def _scores(outputs: list[np.ndarray], targets: list[np.ndarray]) -> tuple[float, float, float]:
    pairs = list(zip(outputs, targets, strict=True))
    return (
        float(np.mean([metrics.psnr(a, b) for a, b in pairs])),
        float(np.mean([pictures.sharpness(a) / max(pictures.sharpness(b), 1e-9) for a, b in pairs])),
        float(np.mean([pictures.histogram_distance(a, b) for a, b in pairs])),
    )


def _strip(shown: list[list[tuple[str, np.ndarray]]], found: trials.Patches) -> Image.Image:
    rows = []
    for row, (y, sharp) in zip(shown, found.held_out, strict=False):
        images = [("input", _pixels(y)), *row, ("sharp", _pixels(sharp))]
        rows.append([(label, pictures.crop(pixels, 192)) for label, pixels in images])
    return grid(rows)


def _figure(rows: list[tuple]) -> Figure:
    trained = [row for row in rows if row[0] in FACTORS]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for axes, index, label in zip(
        figure.subplots(1, 3), (2, 3, 4), ("PSNR, dB", "sharpness / that of sharp", "histogram distance"), strict=True
    ):
        axes.plot([row[0] for row in trained], [row[index] for row in trained], marker="o")
        axes.set(ylabel=label, xlabel="lambda")
        axes.tick_params(axis="x", rotation=20)
        axes.grid(alpha=0.3)
    return figure
