"""The paper's iteration, as a generator: x_0 = F(y), then strokes x_i from x_{i-1}.

A stroke is G alone, or, where one kernel k explains the picture, eq. 5: a step towards k * x = y, and then G.
Source: section 3 of "A Deep Optimization Approach for Image Deconvolution" (Luo, Chen, Qian); three strokes are
its stop criterion at test time (section 6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from golfdeblur import bands
from golfdeblur.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

STEPS = 3
MOST_STEPS = 100
STOP_BELOW = 0.1 / 255
"""A stroke that changes the mean pixel by less than a tenth of a grey level is the last."""


NEARNESS, NEARNESS_OF_NOISE = 1.5e-3, 60.0
"""How firmly the first stroke's data step holds x_mid to x_0: without noise, and what noise adds."""

NEARNESS_IN_LINEAR = 0.5
"""Of that in linear light, where shadows have smaller differences."""

NEARNESS_GROWTH = 3.0
"""Every stroke holds so much more firmly to the one before: strokes get finer, and settle."""


LAST_STROKE = 5
"""Strokes with a data term end here: G was trained through as many (eq. 4), and more of them drift away again."""

LEVEL_SCALE = 10.0
"""G is told the level of noise times this, so that it is as large as pixels are."""


def nearness(noise: float, stroke: int, *, linear: bool) -> float:
    """Return rho of the data step argmin |k * z - y|^2 + rho |z - x_{i-1}|^2 at stroke i = `stroke`, from 1 on.

    `noise` is the standard deviation in y, of the pixel range [0, 1].
    """
    first = NEARNESS + NEARNESS_OF_NOISE * noise**2
    return first * (NEARNESS_IN_LINEAR if linear else 1.0) * NEARNESS_GROWTH ** (stroke - 1)


def level(noise: float, stroke: int) -> float:
    """Return the level of noise that G is told at `stroke`; it falls as `nearness` grows.

    Source: Zhang et al., "Plug-and-play image restoration with deep denoiser prior" (2021), where rho is the
    noise's variance over the level's square.
    """
    return noise * NEARNESS_GROWTH ** (-(stroke - 1) / 2)


@dataclass(frozen=True)
class Stroke:
    """One iterate x_index, (B, 3, H, W), and how far it moved."""

    index: int
    pixels: np.ndarray
    change: float
    """Mean |x_i - x_{i-1}| (for x_0: from y), in units of the pixel range [0, 1]."""
    settled: bool
    """The change fell under the threshold, so this is the last stroke."""


def strokes(
    f: Callable[[np.ndarray], np.ndarray],
    g: Callable[[np.ndarray], np.ndarray | None] | None,
    y: np.ndarray,
    *,
    steps: int = STEPS,
    stop_below: float = STOP_BELOW,
) -> Iterator[Stroke]:
    """Yield x_0 = F(y), then x_1, ..., x_steps of the stroke `g`, fewer if one changes less than `stop_below`.

    Without `g` there is x_0 alone, and where `g` returns None what came before it was the last. `y` is
    (B, 3, H, W) float32 in [0, 1]. The iterates are not clipped, as in training.
    Raises ConfigError for negative or more than 100 steps.
    """
    check_steps(steps)
    x = y
    for index in range(steps + 1 if g else 1):
        following = g(x) if g and index else f(x)
        if following is None:
            return
        change = total_change(following, x) / x.size
        x = following
        settled = index > 0 and change < stop_below
        yield Stroke(index, x, change, settled)
        if settled:
            return


def total_change(x: np.ndarray, before: np.ndarray) -> float:
    """Return the sum of |x - before| over (B, 3, H, W)."""
    total = 0.0
    for top, bottom in bands.cut(*x.shape[2:]):
        moved = abs(x[:, :, top:bottom] - before[:, :, top:bottom])
        total += float(moved.sum(axis=3).sum(dtype="float64"))
    return total


def check_steps(steps: int) -> None:
    """Raise ConfigError for negative or more than 100 steps."""
    if not 0 <= steps <= MOST_STEPS:
        raise ConfigError(f"{steps} steps are asked for; 0 to {MOST_STEPS} are allowed, and {STEPS} are usual.")
