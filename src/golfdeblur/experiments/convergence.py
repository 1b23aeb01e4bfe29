"""Does the corrector converge? Section 6.1, eqs. 3, 9 and 10.

Claim: the iterates x_i = G(x_{i-1}) settle after two to four steps, G's errors do not grow from one to the next
(eq. 10), and the residual r(x) = G(x) - x points along the descent direction towards the sharp image.

The strokes of a model with a data term are followed on the sharp sides blurred by a known kernel (`known_kernel`), so
that no kernel misread is taken for G; those of a G that sees x alone on the pairs as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from golfdeblur import metrics
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.deconvolving import Deconvolution, Deconvolver
from golfdeblur.experiments import known_kernel, pictures
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.golf import LAST_STROKE, STOP_BELOW
from golfdeblur.model import load
from golfdeblur.runtimes import Network
from golfdeblur.weights import find_weights

STEPS = 10
MOST_IMAGES = 40
SSIM = "gaussian-3d"
QUANTILE = 0.95
ETA = 1e-4
"""The slack of eq. 10 that is still called none: a hundredth of full scale, squared."""
DIRECTION = 0.1
"""The least cosine called a descent direction: a step along it can remove a hundredth of the squared error."""


def run(settings: Settings) -> Result:
    """Follow ten corrections on every pair, five of a model with a data term."""
    most = STEPS if find_weights(settings.model).stroke is None else LAST_STROKE
    steps = 3 if settings.quick else most
    traces = [_trace(*case, steps) for case in _cases(settings)]
    means = {key: np.mean([t[key] for t in traces], axis=0) for key in traces[0]}
    errors = np.array([t["squared_error"] for t in traces])
    rises = np.diff(errors, axis=1)[:, 1:]  # from ||G(x_{i-1}) - sharp||^2 to ||G(x_i) - sharp||^2
    stopped = [_stop(t["change"]) for t in traces]
    best = [int(np.argmax(t["psnr_db"][1:])) for t in traces]
    gain = means["psnr_db"][1:] - means["psnr_db"][1]
    settles = _stop(list(means["change"]))
    numbers: dict[str, Any] = {
        "images": len(traces),
        "mean": {key: [float(v) for v in value] for key, value in means.items()},
        "eq10_share": float((rises <= 0).mean()),
        "eq10_eta": float(np.quantile(rises, QUANTILE)),
        "stopped_at": stopped,
        "best_step": best,
        "lost_by_stopping_db": float(
            np.mean([max(t["psnr_db"][1:]) - t["psnr_db"][1 + s] for t, s in zip(traces, stopped, strict=True)])
        ),
        "gain_over_x0_db": [float(v) for v in gain],
    }
    held = {
        "settles after two to four corrections": 2 <= settles <= 4,
        "x3 is no worse than x0": bool(gain[min(3, steps)] >= 0),
        f"eq. 10 with a slack under {ETA:.0e}": numbers["eq10_eta"] < ETA,
        f"r(x) points to the sharp image (cosine of {DIRECTION} or more)": float(means["cosine"][0]) >= DIRECTION,
    }
    verdict = (
        f"Over {len(traces)} images, x3 gains {gain[min(3, steps)]:+.3f} dB over x0 and x{steps} {gain[-1]:+.3f}. "
        f"Eq. 10 holds without slack in {numbers['eq10_share']:.0%} of the steps, with eta = {numbers['eq10_eta']:.1e} "
        f"(mean square per value) in {QUANTILE:.0%}. The cosine between r(x) and the true direction is "
        f"{means['cosine'][0]:.3f} at x0. Stopping by the mean change loses "
        f"{numbers['lost_by_stopping_db']:.3f} dB against each image's best step."
    )
    rows = [
        (f"x{i}", float(means["psnr_db"][i + 1]), float(means["ssim"][i + 1]), float(255 * means["change"][i]),
         float(means["cosine"][i]) if i < steps else None)
        for i in range(steps + 1)
    ]  # fmt: skip
    table = Table(
        f"Means over {len(traces)} images (input {means['psnr_db'][0]:.2f} dB; SSIM by {SSIM}):",
        ("iterate", "PSNR, dB", "SSIM", "mean change, grey levels", "cosine of r(x) with sharp - x"),
        rows,
    )
    claim = "the result settles after two to four corrections; eq. 10 holds; r(x) is the descent direction (eqs. 3, 9)."
    numbers["settles_after"] = settles
    return Result("convergence", claim, held, verdict, numbers, [table], {"convergence": _figure(means)})


def _cases(settings: Settings) -> Iterator[tuple[Network, Network, np.ndarray, np.ndarray]]:
    """Yield F, the stroke, y and the sharp image, (1, 3, H, W) in [0, 1]."""
    model = load(settings.model)
    if model.stroke.g is None:
        f, g = pictures.f_and_g(model)
        for _, y, sharp in pictures.pairs(settings, most=MOST_IMAGES):
            yield f, g, pictures.as_input(y), pictures.as_input(sharp)
        return
    for problem in known_kernel.problems_of(settings, most=MOST_IMAGES):
        asked = Deconvolution(Kernel(problem.kernel.numpy()))
        stroke = cast(Network, Deconvolver(problem.y, model.f, asked, model.stroke))
        yield model.f, stroke, problem.y, pictures.as_input(problem.sharp)


def _trace(f: Network, g: Network, y: np.ndarray, target: np.ndarray, steps: int) -> dict[str, Any]:
    """Return PSNR and SSIM of y, x0, x1, ...; change, error and cosine of x0, x1, ..."""
    x, sharp, blurry = y, pictures.as_pixels(target), pictures.as_pixels(y)
    found: dict[str, list[float]] = {
        "psnr_db": [metrics.psnr(blurry, sharp)], "ssim": [metrics.ssim(blurry, sharp, SSIM)],
        "change": [], "squared_error": [], "cosine": [],
    }  # fmt: skip
    for index in range(steps + 1):
        following = g(x) if index else f(x)
        shown = pictures.as_pixels(following)
        found["psnr_db"].append(metrics.psnr(shown, sharp))
        found["ssim"].append(metrics.ssim(shown, sharp, SSIM))
        found["change"].append(float(np.abs(following - x).mean()))
        found["squared_error"].append(float(((following - target) ** 2).mean()))
        if index:
            found["cosine"].append(_cosine(following - x, target - x))
        x = following
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _stop(changes: list[float]) -> int:
    """Return the index of the iterate at which the strokes would settle."""
    return next((i for i, change in enumerate(changes) if i and change < STOP_BELOW), len(changes) - 1)


def _figure(means: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    steps = range(len(means["change"]))
    left.plot(steps, means["psnr_db"][1:], marker="o")
    left.set(xlabel="iterate i", ylabel="mean PSNR of x_i, dB", title="Quality")
    middle.plot(steps, 255 * means["change"], marker="o")
    middle.set(xlabel="iterate i", ylabel="mean |x_i - x_{i-1}|, grey levels", title="Change", yscale="log")
    right.plot(range(1, len(means["change"])), means["cosine"], marker="o")
    right.set(xlabel="correction i", ylabel="cosine of r(x_{i-1}) with sharp - x_{i-1}", title="Direction")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    return figure
