"""A known kernel: r(x) as the prior's gradient in a descent on the data term. Section 7, with eqs. 2 and 5.

Claim: the optimizer "is not limited to image deconvolution": x_mid = x_i - alpha grad data(x_i), then
x_{i+1} = x_mid + beta r(x_mid), where data(x) = |k * x - y|^2 / 2 and r is the residual of G. F's own residual is tried
in its place. Beside them stand the classical priors with the same kernel (`rivals`), and the model's own strokes, whose
G was trained behind the data step: no descent is worth its while that they surpass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from golfdeblur import metrics
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.errors import ConfigError
from golfdeblur.experiments import pictures, rivals
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.learning import uniform
from golfdeblur.model import Model, load
from golfdeblur.runtimes import Network
from golfdeblur.sheet import grid

ALPHA = 1.0
"""A kernel of sum 1 amplifies nothing, so that the descent is stable below 2."""

ITERATIONS, QUICK_ITERATIONS = 40, 3
MOST_IMAGES = 8
SIDE, SIGMA, EXTENT_PX = 256, 0.01, (8.0, 24.0)
QUICK_EXTENT_PX = (4.0, 8.0)
PRIORS = (("none", 0.0), ("G", 1.0), ("G", 10.0), ("F", 0.1), ("F", 0.3), ("F", 1.0))
"""Whose residual, and beta."""

STROKES = "F, then strokes with G"


@dataclass(frozen=True)
class Problem:
    """A sharp image, (H, W, 3) uint8, what a shaken camera saw of it, (1, 3, H, W) in [0, 1], and its (K, K) kernel."""

    sharp: np.ndarray
    y: np.ndarray
    kernel: torch.Tensor


def run(settings: Settings) -> Result:
    """Blur the sharp sides with the kernels of an unsteady hand, and restore them with every prior."""
    model = load(settings.model)
    _, g = pictures.f_and_g(load(settings.plain))
    f = model.f
    iterations = QUICK_ITERATIONS if settings.quick else ITERATIONS
    problems = problems_of(settings)
    traces: dict[str, np.ndarray] = {}
    shown: dict[str, np.ndarray] = {}
    for name, beta in PRIORS:
        label = "no prior" if name == "none" else f"{name}, beta {beta:g}"
        network = {"none": None, "G": g, "F": f}[name]
        made = [descend(problem, network, beta=beta, iterations=iterations) for problem in problems]
        traces[label] = np.mean([trace for trace, _ in made], axis=0)
        shown[label] = made[0][1]
    at_start = float(np.mean([metrics.psnr(pictures.as_pixels(p.y), p.sharp) for p in problems]))
    blind = float(np.mean([metrics.psnr(pictures.as_pixels(f(p.y)), p.sharp) for p in problems]))
    best = {label: float(trace.max()) for label, trace in traces.items()}
    gain = {name: max(v for k, v in best.items() if k[0] == name) - best["no prior"] for name in "GF"}
    classical = {name: _classical(problems, name, shown) for name in rivals.KNOWN}
    ahead = max(classical, key=lambda name: classical[name])
    strokes = None if model.stroke.g is None else float(np.mean([_by_strokes(model, p, shown) for p in problems]))
    verdict = (
        f"With the kernel known, {len(problems)} images of {at_start:.2f} dB reach {best['no prior']:.2f} dB without a "
        f"prior (F alone, which does not know it, {blind:.2f}). The residual of `{settings.plain}`'s G as the prior's "
        f"gradient changes that by {gain['G']:+.2f} dB at best, F's by {gain['F']:+.2f} dB. Told the same kernel, "
        f"{ahead} reaches {classical[ahead]:.2f} dB"
        + ("." if strokes is None else f", the strokes of `{settings.model}` {strokes:.2f} dB.")
    )
    rows: list[tuple[str, float, float, int | None]] = [
        (label, float(t[-1]), best[label], int(t.argmax()) + 1) for label, t in traces.items()
    ]
    rows += [(name, value, value, None) for name, value in classical.items()]
    parts = {
        "G's residual is better than no prior": gain["G"] > 0.05,
        "F's residual is better than no prior": gain["F"] > 0.05,
        "either is better than a classical prior": max(gain.values()) + best["no prior"] > classical[ahead],
    }
    if strokes is not None:
        rows.append((STROKES, strokes, strokes, None))
        parts["G behind the data step is better than a classical prior"] = strokes > classical[ahead]
    table = Table(
        f"Mean PSNR in dB; input {at_start:.2f}, F alone {blind:.2f}:",
        ("prior", f"after {iterations}", "at its best", "after so many iterations"),
        rows,
    )
    first = problems[0]
    strip = [("input", pictures.as_pixels(first.y)), *shown.items(), ("sharp", first.sharp)]
    numbers = {"input_psnr_db": at_start, "f_psnr_db": blind, "psnr_db": {k: v.tolist() for k, v in traces.items()}}
    numbers |= {"rivals_psnr_db": classical, "strokes_psnr_db": strokes}
    return Result(
        "known-kernel",
        "r(x) serves as the prior's gradient beyond blind deblurring, here where the kernel is known.",
        parts,
        verdict,
        numbers,
        [table],
        {"descent": _figure(traces, classical)},
        {"restored": grid([[(label, pictures.crop(x)) for label, x in part] for part in (strip[:6], strip[6:])])},
    )


def descend(
    problem: Problem, network: Network | None, *, beta: float, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the PSNR in dB after each iteration, and the image at the last, (H, W, 3) uint8.

    `network` is F or G, whose residual is the prior's gradient. What lies outside of `y` but within the kernel's reach
    is restored too, and not measured.
    """
    y = torch.from_numpy(problem.y)
    edge = problem.kernel.shape[0] // 2
    x = torch.nn.functional.pad(y, (edge,) * 4, mode="replicate")
    inside = slice(edge, -edge)
    scores = []
    for _ in range(iterations):
        x = x - ALPHA * uniform.convolve_adjoint(uniform.convolve(x, problem.kernel) - y, problem.kernel)
        if network is not None:
            x = x + beta * (torch.from_numpy(network(x.numpy())) - x)
        pixels = pictures.as_pixels(x[..., inside, inside].numpy())
        scores.append(metrics.psnr(pixels, problem.sharp))
    return np.array(scores), pixels


def _classical(problems: list[Problem], name: str, shown: dict[str, np.ndarray]) -> float:
    """Return a rival's mean PSNR in dB; what it makes of the first problem goes to `shown`."""
    scores = []
    for problem in problems:
        x = np.stack([rivals.KNOWN[name](plane, problem.kernel.numpy()) for plane in problem.y[0]])
        pixels = pictures.as_pixels(x[None])
        shown.setdefault(name, pixels)
        scores.append(metrics.psnr(pixels, problem.sharp))
    return float(np.mean(scores))


def _by_strokes(model: Model, problem: Problem, shown: dict[str, np.ndarray]) -> float:
    """Return the PSNR in dB of the model's own strokes with the kernel; the first problem's result goes to `shown`."""
    made = model.deblur(problem.y[0].transpose(1, 2, 0), kernel=Kernel(problem.kernel.numpy()))
    pixels = pictures.as_pixels(made.transpose(2, 0, 1)[None])
    shown.setdefault(STROKES, pixels)
    return metrics.psnr(pixels, problem.sharp)


def problems_of(settings: Settings, *, most: int = MOST_IMAGES) -> list[Problem]:
    """Return what the sharp sides of `settings.data` become in an unsteady hand, seeded, with noise of SIGMA."""
    extent = QUICK_EXTENT_PX if settings.quick else EXTENT_PX
    generator = torch.Generator().manual_seed(0)
    found = []
    for name, _, whole in pictures.pairs(settings, most=most):
        kernel = uniform.random_kernels(generator, 1, extent)[0]
        side = min(SIDE + kernel.shape[0] - 1, *whole.shape[:2])
        if side < kernel.shape[0]:
            raise ConfigError(f"{name} is smaller than the {kernel.shape[0]} px of a kernel; give larger pairs.")
        x = torch.from_numpy(pictures.as_input(pictures.crop(whole, side)))
        y, sharp = uniform.uniform_pair(x, kernel, sigma=SIGMA, generator=generator)
        found.append(Problem(pictures.as_pixels(sharp.numpy()), y.numpy(), kernel))
    return found


def _figure(traces: dict[str, np.ndarray], classical: dict[str, float]) -> Figure:
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, trace in traces.items():
        axes.plot(np.arange(1, len(trace) + 1), trace, label=label)
    for index, (name, value) in enumerate(classical.items()):
        axes.axhline(value, color="black", linestyle=("-", "--", "-.", ":")[index % 4], linewidth=1, label=name)
    axes.set(xlabel="iteration", ylabel="mean PSNR, dB", title="Descent with a known kernel")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    return figure
