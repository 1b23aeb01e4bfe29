"""Does one kernel explain the picture? A kernel is always found; most of them would do harm.

Where the blur differs from place to place, deconvolution leaves echoes, and two things show it. F, which takes blur
out wherever it sees any, would change the result again; and beside edges the result leaves the range of what F made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golfdeblur.deconvolution.kernel import Kernel

Network = Callable[[np.ndarray], np.ndarray]

HALO_PX = 15
"""The result is held against the least and the greatest of F's values in a square of this side."""

MOST_LEFT, MOST_HALO = 0.10, 0.12
"""One kernel explains the picture where both numbers are below these (research/deconvolution)."""

LEAST_GAIN_DB = 0.5
"""Where a network was asked, it has to expect so much."""

UNBLURRED_PX = 2.5
"""A kernel of this extent or less is no blur that a stroke should take out."""


@dataclass(frozen=True)
class Explanation:
    """A kernel that was read from a picture, and whether it explains all of it."""

    kernel: Kernel
    left: float
    """What F would still change of the deconvolved picture, of 1 for what it changed of the blurry one."""
    halo: float
    """The part of the strokes' change that leaves the range of F's result around it, from 0 to 1."""
    gain_db: float | None = None
    """What the stroke is expected to gain over F's result (`expected_gain`), where a network was asked."""

    elsewhere_db: float | None = None
    """The least that is expected in a quarter of a large picture, where that was asked."""

    @property
    def merit(self) -> float:
        """How good a candidate it is beside others of the same picture."""
        return -self.left if self.gain_db is None else self.gain_db

    @property
    def uniform(self) -> bool:
        """One kernel explains the picture."""
        return not self.doubts

    @property
    def doubts(self) -> list[str]:
        """Why one kernel would not do, each in a few words."""
        found = []
        if self.kernel.extent_px <= UNBLURRED_PX:
            found.append("no blur was found that is the same everywhere")
        if self.elsewhere_db is not None and self.elsewhere_db < 0:
            found.append("it does not hold everywhere")
        if self.gain_db is not None:
            return found + ["its result would look worse"] * (self.gain_db < LEAST_GAIN_DB)
        if self.left > MOST_LEFT:
            found.append("blur is left in places")
        if self.halo > MOST_HALO:
            found.append("edges get halos")
        return found

    @property
    def sentence(self) -> str:
        """What was found, in plain words."""
        if self.uniform:
            return f"camera shake of {self.kernel.extent_px:.0f} px, the same everywhere"
        return f"no single blur explains the picture ({' and '.join(self.doubts)})"


def left_to_do(changed: np.ndarray, before: np.ndarray) -> float:
    """Return `left` of two changes that F makes: of the deconvolved and of the blurry picture, arrays of any shape."""
    return float(abs(changed).mean() / (abs(before).mean() + 1e-3))


def halo(x: np.ndarray, x0: np.ndarray, *, border: int = 0) -> float:
    """Return `halo` of a deconvolved plane `x` against F's `x0`, (H, W) each, without `border` pixels around."""
    low, high = _extreme(x0, np.minimum), _extreme(x0, np.maximum)
    beyond = np.maximum(low - x, 0) + np.maximum(x - high, 0)
    border = min(border, (min(x.shape) - 1) // 2)
    inside = (slice(border, x.shape[0] - border), slice(border, x.shape[1] - border))
    return float(beyond[inside].mean() / max(float(abs(x - x0)[inside].mean()), 1e-6))


def expected_gain(y: np.ndarray, x0: np.ndarray, x1: np.ndarray, again: np.ndarray, judge: Network) -> float:
    """Return how many dB nearer to the truth than x0 = F(y) the stroke's x1 is, as `judge` sees it without the truth.

    All are (H, W) planes, `again` is F(x1); `judge` maps (1, 4, H, W) to (1, H / 32, W / 32). Of pictures of less than
    64 px it knows nothing, and nothing is gained.
    """
    height, width = (n // 64 * 64 for n in y.shape)
    if not height * width:
        return 0.0
    seen = np.stack([x0, x1 - x0, y - x0, again - x1])[None, :, :height, :width]
    return float(judge(np.ascontiguousarray(seen, np.float32)).mean())


def _extreme(plane: np.ndarray, least: np.ufunc) -> np.ndarray:
    """Return the least (or greatest) value in the square of HALO_PX around each pixel."""
    for axis in (0, 1):
        reach = HALO_PX // 2
        padded = np.pad(plane, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, HALO_PX, axis)
        plane = least.reduce(views, axis=-1)
    return plane
