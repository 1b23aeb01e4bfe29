"""A stroke that deconvolves: it reads the kernel from (x_{i-1}, y) and steps to where k * x = y (eqs. 2 and 5)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golfdeblur.deconvolution import fourier, light
from golfdeblur.deconvolution.data_term import total_variation
from golfdeblur.deconvolution.estimation import TV_WEIGHT, read_taps
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.faded import faded
from golfdeblur.errors import ConfigError

SIDE_PX = 51
"""The side of a kernel that is read; a longer shake is not found."""

WINDOW_PX = 512
"""The kernel is read in the square of this side that has the most edges."""

WINDOW_STEP_PX = 32
EDGE_CAP = 0.02
"""The most that one pixel's squared gradient counts for, so that a few lights do not decide where to look."""

JUDGED_PX = 256
"""F judges the middle of the window."""

PART_PX = 1024
"""Larger pictures are deconvolved in parts that fade into each other."""

LIGHTS = ("auto", *light.LIGHTS)


@dataclass(frozen=True)
class Deconvolution:
    """What is to be deconvolved: with which kernel, or in which light one is read from the picture."""

    kernel: Kernel | None = None
    """None: it is read, again at every stroke."""
    light: str = "auto"
    """`auto` takes the light whose result F would change least."""

    def __post_init__(self) -> None:
        if self.light not in LIGHTS:
            raise ConfigError(f"Light '{self.light}' is unknown; use {', '.join(LIGHTS)}.")


class Deconvolver:
    """The strokes of one picture `y`, (1, 3, H, W) float32; `f` is F, which judges the light."""

    def __init__(self, y: np.ndarray, f: Callable[[np.ndarray], np.ndarray], asked: Deconvolution) -> None:
        self.y = y
        self.f = f
        self.kernel = asked.kernel
        """The kernel of the last stroke."""
        self._reads = asked.kernel is None
        self._lights = light.LIGHTS if asked.light == "auto" else (asked.light,)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the next iterate after `x`, of its shape; not clipped."""
        if self._reads:
            self.kernel = self._read(x)
            self._lights = (self.kernel.light,)  # one light for all strokes
        assert self.kernel is not None
        overlap = min(4 * len(self.kernel.taps), PART_PX // 2)
        part = functools.partial(deconvolved, kernel=self.kernel)
        height, width = self.y.shape[2:]
        rows = faded(part, lambda top, end: self.y[:, :, top:end], (width, height), side=PART_PX, overlap=overlap)
        return np.concatenate(list(rows), axis=2)

    def _read(self, x: np.ndarray) -> Kernel:
        sharper, blurry = light.luminance(np.clip(x[0], 0, 1)), light.luminance(self.y[0])
        window = busiest(sharper, WINDOW_PX)
        sharper, blurry = sharper[window], blurry[window]
        side = min(SIDE_PX, (min(blurry.shape) - 1) // 2 * 2 + 1)
        found = [
            Kernel(read_taps(light.into(sharper, name), light.into(blurry, name), side), name) for name in self._lights
        ]
        return found[0] if len(found) == 1 else min(found, key=lambda kernel: self._left_to_do(blurry, kernel))

    def _left_to_do(self, blurry: np.ndarray, kernel: Kernel) -> float:
        """Return how much F would still change what `kernel` makes of a grey plane, in the mean."""
        made = np.clip(deconvolved(blurry, kernel=kernel), 0, 1)
        top, left = (max(0, (n - JUDGED_PX) // 2) for n in made.shape)
        middle = made[top : top + JUDGED_PX, left : left + JUDGED_PX]
        grey = np.ascontiguousarray(np.broadcast_to(middle, (1, 3, *middle.shape)))
        return float(abs(self.f(grey) - grey).mean())


def deconvolved(y: np.ndarray, *, kernel: Kernel) -> np.ndarray:
    """Return argmin |k * x - y|^2 + TV(x) of (..., H, W) stored values, in the light of `kernel`, plane by plane."""
    planes = light.into(y, kernel.light).reshape(-1, *y.shape[-2:])
    made = np.stack([total_variation(plane, kernel.taps, TV_WEIGHT) for plane in planes])
    return light.out_of(made, kernel.light).reshape(y.shape)


def busiest(plane: np.ndarray, side: int) -> tuple[slice, slice]:
    """Return the window of at most `side` px in which `plane`, (H, W), has the most edges."""
    height, width = (min(side, n) for n in plane.shape)
    energy = np.minimum(sum(d**2 for d in fourier.gradient(plane)), EDGE_CAP)
    sums = np.pad(energy.cumsum(0, dtype=float).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = (
        np.arange(0, n - size + 1, WINDOW_STEP_PX) for n, size in zip(plane.shape, (height, width), strict=True)
    )
    rows, columns = tops[:, None], lefts[None]
    held = sums[rows + height, columns + width] - sums[rows, columns + width]
    held -= sums[rows + height, columns] - sums[rows, columns]
    top, left = (int(i) for i in np.unravel_index(held.argmax(), held.shape))
    top, left = int(tops[top]), int(lefts[left])
    return slice(top, top + height), slice(left, left + width)
