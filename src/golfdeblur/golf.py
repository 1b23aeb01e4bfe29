"""The paper's iteration: x_0 = F(y), x_i = G(x_{i-1}), over two functions on arrays, as a generator.

Source: section 3 of "A Deep Optimization Approach for Image Deconvolution" (Luo, Chen, Qian); three steps of G are
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
    g: Callable[[np.ndarray], np.ndarray] | None,
    y: np.ndarray,
    *,
    steps: int = STEPS,
    stop_below: float = STOP_BELOW,
) -> Iterator[Stroke]:
    """Yield x_0 = F(y), then x_1, ..., x_steps of G, fewer if a correction changes less than `stop_below`.

    Without `g` there is x_0 alone. `y` is (B, 3, H, W) float32 in [0, 1]. The iterates are not clipped, as in training.
    Raises ConfigError for negative or more than 100 steps.
    """
    check_steps(steps)
    x = y
    for index in range(steps + 1 if g else 1):
        following = g(x) if g and index else f(x)
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
