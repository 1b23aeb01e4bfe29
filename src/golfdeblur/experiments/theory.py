"""Why G has so little to do, and what its residual is: eqs. 3, 7 to 9, 11 and section 3.3.

* If x0 = E[sharp | y], then E[sharp | x0] = x0, since x0 is a function of y. So behind a well-fitted F, with the same
  loss and the same data, seeing only x, the best G is the identity. Shown on a toy where all of it can be computed.
* r(x) is called the prior's gradient. A gradient has a symmetric Jacobian J, so u J v = v J u for any u and v.
* It should point against noise, as the gradient of a smoothed prior does (eqs. 7, 8).
* Section 3.3 lets one G correct every x_i, because they follow one distribution: patches of two iterates cannot be told
  apart then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from golfdeblur.experiments import pictures
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.model import load
from golfdeblur.runtimes import Network

DRAWS, NOISE = 400_000, 0.8
BINS, FEWEST = 40, 500
SIDE, DIRECTIONS, SHIFT = 96, 8, 0.02
SYMMETRIC, UNRELATED = 0.05, 0.5
MOST_IMAGES = 24
SIGMA = 0.02
AGAINST = 0.1
STEPS = 5
PATCH = 32


def run(settings: Settings) -> Result:
    """Compute the toy, then look at r(x) and the iterates of the model."""
    f, g = pictures.f_and_g(load(settings.plain))
    toy = best_corrector(posterior_mean, seed=0)
    off = {"E[sharp | y]": _distance(toy), "half of y": _distance(best_corrector(lambda y: y / 2, seed=0))}
    iterates: dict[str, list[np.ndarray]] = {}
    asymmetries, cosines = [], []
    rng = np.random.default_rng(0)
    for _, y, sharp in pictures.pairs(settings, most=MOST_IMAGES):
        x = f(pictures.as_input(y))
        middle = pictures.as_input(np.ascontiguousarray(pictures.crop(pictures.as_pixels(x), SIDE)))
        asymmetries.append(asymmetry(_residual(g), middle, rng))
        cosines.append(_against_noise(_residual(g), pictures.as_input(sharp), rng))
        iterates.setdefault("sharp", []).append(sharp)
        for index in range(STEPS + 1):
            iterates.setdefault(f"x{index}", []).append(pictures.as_pixels(x))
            x = g(x)
    told = [("x0", "sharp"), *((f"x{i}", f"x{i + 1}") for i in range(STEPS))]
    apart = {f"{a} and {b}": told_apart(iterates[a], iterates[b]) for a, b in told}
    share, cosine = float(np.mean(asymmetries)), float(np.mean(cosines))
    between = [apart[f"x{i} and x{i + 1}"] for i in range(STEPS)]
    alike = all(abs(auc - 0.5) < 2 * error for auc, error in between)
    parts = {
        "behind E[sharp | y] the best G is the identity (toy)": off["E[sharp | y]"] < 0.01 < off["half of y"],
        f"r(x) is a gradient: less than {SYMMETRIC} of its Jacobian is antisymmetric": share < SYMMETRIC,
        f"r(x) points against noise (cosine of {AGAINST} or more)": cosine >= AGAINST,
        "x_i and x_(i+1) follow one distribution": alike,
    }
    verdict = (
        f"Behind E[sharp | y] the best G differs from the identity by {off['E[sharp | y]']:.3f} in the toy, behind "
        f"half of y by {off['half of y']:.2f}. In `{settings.plain}` {share:.2f} of the Jacobian of r(x) is "
        f"antisymmetric, {UNRELATED} being a matrix without any symmetry. "
        f"Where noise of {SIGMA} is added, r(x) changes against it with a cosine of "
        f"{cosine:.3f}. Patches of x0 and sharp ones are told apart with an AUC of {apart['x0 and sharp'][0]:.2f}, "
        f"those of an iterate and the next, which G hardly changes, with {max(auc for auc, _ in between):.2f} at most "
        f"(0.5: by chance)."
    )
    tables = [
        Table("The toy: how far the best G is from the identity:", ("x0", "mean distance"), list(off.items())),
        Table(
            f"Patches of {PATCH} px told apart by the best linear rule on other images' patches:",
            ("of", "AUC", "standard error"), [(name, *value) for name, value in apart.items()],
        ),
    ]  # fmt: skip
    numbers: dict[str, Any] = {
        "toy_distance": off, "antisymmetric_share": asymmetries, "cosine_against_noise": cosines, "told_apart": apart,
    }  # fmt: skip
    claim = "r(x) is the learned gradient of a prior (eqs. 3, 7 to 9), and one G fits every x_i (section 3.3)."
    return Result("theory", claim, parts, verdict, numbers, tables, {"toy": _figure(toy)})


def posterior_mean(y: np.ndarray) -> np.ndarray:
    """Return E[sharp | y] of the toy: sharp is -1 or 1 alike, y = sharp + NOISE n."""
    return np.tanh(y / NOISE**2)


def best_corrector(f: Callable[[np.ndarray], np.ndarray], *, seed: int) -> np.ndarray:
    """Return rows (x0, best G(x0), weight) of the toy: the mean of sharp in each bin of x0 = f(y)."""
    rng = np.random.default_rng(seed)
    sharp = rng.choice([-1.0, 1.0], DRAWS)
    x0 = f(sharp + NOISE * rng.normal(size=DRAWS))
    edges = np.linspace(x0.min(), x0.max(), BINS + 1)
    places = np.clip(np.digitize(x0, edges) - 1, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    enough = counts >= FEWEST
    means = [np.bincount(places, values, BINS)[enough] / counts[enough] for values in (x0, sharp)]
    return np.stack([*means, counts[enough] / counts[enough].sum()], axis=1)


def _distance(rows: np.ndarray) -> float:
    return float((abs(rows[:, 1] - rows[:, 0]) * rows[:, 2]).sum())


def _residual(g: Network) -> Network:
    return lambda x: g(x) - x


def asymmetry(r: Network, x: np.ndarray, rng: np.random.Generator) -> float:
    """Return the antisymmetric share of r's Jacobian at `x`: 0 for a gradient, 0.5 without any symmetry, 1 at most."""
    apart = together = 0.0
    for _ in range(DIRECTIONS):
        u, v = rng.normal(size=(2, *x.shape)).astype(np.float32)
        ju, jv = (((r(x + SHIFT * d) - r(x - SHIFT * d)) / (2 * SHIFT)).astype(float) for d in (u, v))
        a, b = float((u * jv).sum()), float((v * ju).sum())
        apart, together = apart + (a - b) ** 2, together + a**2 + b**2
    return apart / max(2 * together, 1e-30)


def _against_noise(r: Network, x: np.ndarray, rng: np.random.Generator) -> float:
    noise = SIGMA * rng.normal(size=x.shape).astype(np.float32)
    change = r(x + noise) - r(x)
    return -float((change * noise).sum() / max(float(np.linalg.norm(change) * np.linalg.norm(noise)), 1e-12))


def told_apart(first: list[np.ndarray], second: list[np.ndarray]) -> tuple[float, float]:
    """Return the AUC, and its standard error, of the best linear rule between the patches of two lists of images.

    The rule is fitted to every other image and tried on the rest, and the other way round.
    """
    sets = [[_features(image) for image in images] for images in (first, second)]
    scores: list[list[np.ndarray]] = [[], []]
    for fold in range(2):
        train, test = ([np.concatenate(s[start::2] or s[:1]) for s in sets] for start in (1 - fold, fold))
        within = sum(np.cov(t.T) for t in train) + 1e-6 * np.eye(train[0].shape[1])
        rule = np.linalg.solve(within, train[1].mean(0) - train[0].mean(0))
        for found, t in zip(scores, test, strict=True):
            found.append(t @ rule)
    pairs = [_auc(a, b) for a, b in zip(*scores, strict=True)]
    count = min(len(np.concatenate(s)) for s in scores)
    auc = float(np.mean(pairs))
    return auc, float(np.sqrt(max(auc * (1 - auc), 0.0) / max(count, 1)))


def _auc(first: np.ndarray, second: np.ndarray) -> float:
    """Return how often a value of `second` lies above one of `first`, ties counted half."""
    ordered = np.sort(first)
    below = np.searchsorted(ordered, second, "left") + np.searchsorted(ordered, second, "right")
    return float(below.mean() / 2 / len(first))


def _features(image: np.ndarray) -> np.ndarray:
    """Return log energies of a patch's differences of first and second order, (patches, 6)."""
    grey = image.astype(np.float32).mean(2)
    side = min(PATCH, *grey.shape)
    rows, columns = (n // side for n in grey.shape)
    patches = grey[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    flat = patches.reshape(-1, side, side)
    found = [np.diff(flat, order, axis=axis) for order in (1, 2) for axis in (1, 2)]
    found += [found[0][:, :, 1:] - found[0][:, :, :-1], flat - flat.mean((1, 2), keepdims=True)]
    return np.log(np.stack([np.square(d).mean((1, 2)) for d in found], axis=1) + 1e-2)


def _figure(rows: np.ndarray) -> Figure:
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows[:, 0], rows[:, 1], ".", label="mean of sharp in a bin: the best G")
    axes.plot([-1, 1], [-1, 1], "--", label="identity")
    axes.set(xlabel="x0 = E[sharp | y]", ylabel="E[sharp | x0]", title="The best corrector behind the best F")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
