"""Strokes that deconvolve: read the kernel from (x_{i-1}, y), step towards k * x = y, correct with G (eqs. 2 and 5)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from golfdeblur import golf
from golfdeblur.deconvolution import estimation, fourier, light, uniformity
from golfdeblur.deconvolution.data_term import DataTerm, noise_level, total_variation
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.deconvolution.uniformity import Explanation
from golfdeblur.engine.faded import faded
from golfdeblur.engine.runner import Runner
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

NOISE_PX = 1024
"""The noise is measured in the middle of the picture, in a square of this side."""

BEYOND = 0.25
"""A stroke may leave [0, 1] by as much; more is cut off before the next, as in training."""

LIGHTS = ("auto", *light.LIGHTS)

BLURS = ("auto", "scene", "shake")
"""Which blur is taken out: of a moving scene (F alone), of a shaken camera (one kernel), or what the test finds."""


@dataclass(frozen=True)
class Deconvolution:
    """What is to be deconvolved: with which kernel, or in which light one is read from the picture."""

    kernel: Kernel | None = None
    """None: it is read, again at every stroke."""
    light: str = "auto"
    """`auto` takes the light whose result F would change least."""
    decides: bool = False
    """Only where one kernel explains the picture."""

    def __post_init__(self) -> None:
        if self.light not in LIGHTS:
            raise ConfigError(f"Light '{self.light}' is unknown; use {', '.join(LIGHTS)}.")


class Deconvolver:
    """The strokes of one picture `y`, (1, 3, H, W) float32; `f` is F, which judges them; without `g` TV is the prior."""

    def __init__(
        self, y: np.ndarray, f: Callable[[np.ndarray], np.ndarray], asked: Deconvolution, *, g: Runner | None = None
    ) -> None:
        self.y, self.f, self.g = y, f, g
        self.asked = asked
        self.kernel = asked.kernel
        """The kernel of the last stroke."""
        self.explanation: Explanation | None = None
        """What was found before the first stroke, if a kernel was read."""
        self.noise = noise_level(_middle(y, NOISE_PX))
        self._stroke = 0

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """Return the next iterate after `x`, of its shape, not clipped; None where a kernel is not to be trusted."""
        self._stroke += 1
        if self.asked.kernel is None:
            if self._stroke == 1:
                self.explanation = self.explained(x)
                self.kernel = self.explanation.kernel
                if self.asked.decides and not self.explanation.uniform:
                    return None
            else:
                assert self.kernel is not None
                self.kernel = self._read(x, self.kernel.light, again=True)
        assert self.kernel is not None
        overlap = min(4 * len(self.kernel.taps), PART_PX // 2)

        def both(top: int, end: int) -> np.ndarray:
            return np.concatenate([self.y[:, :, top:end], x[:, :, top:end]], 1)

        part = functools.partial(self._part, kernel=self.kernel, stroke=self._stroke)
        size = self.y.shape[3], self.y.shape[2]
        return np.concatenate(list(faded(part, both, size, side=PART_PX, overlap=overlap)), axis=2)

    def explained(self, x0: np.ndarray) -> Explanation:
        """Return the kernel that F's result `x0` and y tell, in the light that F likes best, and whether it will do."""
        window = self._window(x0)
        y, before = self.y[:, :, *window], x0[:, :, *window]
        lights = light.LIGHTS if self.asked.light == "auto" else (self.asked.light,)
        found = []
        for name in lights:
            kernel = self._read(x0, name)
            made = np.clip(self._part(np.concatenate([y, before], 1), kernel=kernel, stroke=1), 0, 1)
            judged = _middle(made, JUDGED_PX)
            left = uniformity.left_to_do(self.f(judged) - judged, _middle(before, JUDGED_PX) - _middle(y, JUDGED_PX))
            planes = (light.luminance(np.clip(x[0], 0, 1)) for x in (made, before))
            halo = uniformity.halo(*planes, border=len(kernel.taps) // 2)
            found.append(Explanation(kernel, left, halo))
        return min(found, key=lambda explanation: explanation.left)

    def _part(self, both: np.ndarray, *, kernel: Kernel, stroke: int) -> np.ndarray:
        """Make a stroke of a part of the picture: y and x_{i-1} in six channels."""
        y, x = both[:, :3], both[:, 3:]
        if self.g is None:
            return deconvolved(y, kernel=kernel)
        rho = golf.nearness(self.noise, stroke, linear=kernel.light == "linear")
        before = light.into(np.clip(x, -BEYOND, 1 + BEYOND), kernel.light)
        middle = light.out_of(DataTerm(light.into(y, kernel.light), kernel.taps).step(before, rho), kernel.light)
        told = np.full_like(middle[:, :1], golf.LEVEL_SCALE * golf.level(self.noise, stroke))
        return self.g(np.concatenate([np.clip(middle, -0.5, 1.5), told], 1))

    def _window(self, x: np.ndarray) -> tuple[slice, slice]:
        return busiest(light.luminance(np.clip(x[0], 0, 1)), WINDOW_PX)

    def _read(self, x: np.ndarray, name: str, *, again: bool = False) -> Kernel:
        """Read the kernel in light `name` from `x`, or from F at half the size the first time."""
        window = self._window(x)
        sharper, blurry = (light.luminance(np.clip(p[0][:, *window], 0, 1)) for p in (x, self.y))
        side = min(SIDE_PX, (min(blurry.shape) - 1) // 2 * 2 + 1)
        taps = estimation.read_taps(light.into(sharper, name), light.into(blurry, name), side)
        return Kernel(taps, name)


def deconvolved(y: np.ndarray, *, kernel: Kernel) -> np.ndarray:
    """Return argmin |k * x - y|^2 + TV(x) of (..., H, W) stored values, in the light of `kernel`, plane by plane."""
    planes = light.into(y, kernel.light).reshape(-1, *y.shape[-2:])
    made = np.stack([total_variation(plane, kernel.taps, estimation.TV_WEIGHT) for plane in planes])
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


def _middle(x: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of (B, C, H, W), at most `side` px high and wide."""
    top, left = (max(0, (n - side) // 2) for n in x.shape[2:])
    return np.ascontiguousarray(x[:, :, top : top + side, left : left + side])
