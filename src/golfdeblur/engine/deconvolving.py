"""Strokes that deconvolve: read the kernel from (x_0, y), step towards k * x = y, correct with G (eqs. 2 and 5)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from golfdeblur import golf
from golfdeblur.deconvolution import estimation, fourier, light, pyramid, uniformity
from golfdeblur.deconvolution.data_term import DataTerm, noise_level, total_variation
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.deconvolution.uniformity import Explanation
from golfdeblur.engine import scales
from golfdeblur.engine.faded import faded
from golfdeblur.engine.runner import Runner
from golfdeblur.errors import ConfigError
from golfdeblur.runtimes import Network

SIDE_PX = 51
"""The side of a kernel that is read; a longer shake is not found."""

WINDOW_PX = 512
"""The kernel is read in the square of this side that has the most edges."""

WINDOW_STEP_PX = 32
EDGE_CAP = 0.02
"""The most that one pixel's squared gradient counts for, so that a few lights do not decide where to look."""

HOPELESS_DB = -0.5
"""Where the judge expects less than this of the first reading, there is no second one unless it is asked for."""

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
    """None: it is read before the first stroke; later readings lost 0.1 to 0.3 dB (research/2026-12.md)."""
    light: str = "auto"
    """`auto` takes the light whose result F would change least."""
    decides: bool = False
    """Only where one kernel explains the picture."""

    def __post_init__(self) -> None:
        if self.light not in LIGHTS:
            raise ConfigError(f"Light '{self.light}' is unknown; use {', '.join(LIGHTS)}.")


def asked_for(blur: str, kernel: Kernel | None, light: str, *, decides: bool) -> Deconvolution | None:
    """Return the deconvolution that these arguments of `Model.deblur` ask for, None for none.

    Without `decides` `auto` is `scene`. Raises ConfigError for unknown ones.
    """
    if blur not in BLURS:
        raise ConfigError(f"Blur '{blur}' is unknown; use {', '.join(BLURS)}.")
    if kernel is not None or blur == "shake":
        return Deconvolution(kernel, light)
    return Deconvolution(light=light, decides=True) if blur == "auto" and decides else None


@dataclass(frozen=True)
class StrokeNetworks:
    """What a model has for strokes that deconvolve, beside F."""

    g: Runner | None = None
    """The corrector of what the data step leaves; without it total variation is the prior."""
    finder: Network | None = None
    """Finds the kernel (`estimation.Reader`); without it edges alone tell it."""
    judge: Network | None = None
    """Tells what a stroke gains (`uniformity.expected_gain`); without it two numbers do."""


class Deconvolver:
    """The strokes of one picture `y`, (1, 3, H, W) float32, after F, which is `f`."""

    def __init__(
        self, y: np.ndarray, f: Network, asked: Deconvolution, networks: StrokeNetworks = StrokeNetworks()
    ) -> None:
        self.y, self.f, self.networks = y, f, networks
        self.asked = asked
        self.kernel = asked.kernel
        """What the strokes deconvolve with."""
        self.explanation: Explanation | None = None
        """What was found before the first stroke, if a kernel was read."""
        self.noise = noise_level(_middle(y, NOISE_PX))
        self._stroke = 0

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """Return the next iterate after `x`, of its shape, not clipped.

        None where a kernel is not to be trusted, and after golf.LAST_STROKE.
        """
        self._stroke += 1
        if self._stroke > golf.LAST_STROKE:
            return None
        if self.kernel is not None:
            return self._stroked(x, self.kernel)
        found = self.explanation = self.explained(x)
        if self.asked.decides and not found.uniform:
            return None
        made = self._stroked(x, found.kernel)
        if self.asked.decides:
            self.explanation = replace(found, elsewhere_db=self._elsewhere(x, made))
            if not self.explanation.uniform:
                return None
        self.kernel = found.kernel
        return made

    def _stroked(self, x: np.ndarray, kernel: Kernel) -> np.ndarray:
        """Make a stroke of the whole picture, in parts if it is large."""
        overlap = min(4 * len(kernel.taps), PART_PX // 2)

        def both(top: int, end: int) -> np.ndarray:
            return np.concatenate([self.y[:, :, top:end], x[:, :, top:end]], 1)

        part = functools.partial(self._part, kernel=kernel, stroke=self._stroke)
        size = self.y.shape[3], self.y.shape[2]
        return np.concatenate(list(faded(part, both, size, side=PART_PX, overlap=overlap)), axis=2)

    def explained(self, x0: np.ndarray) -> Explanation:
        """Return the kernel that F's result `x0` and y tell, and whether it will do.

        Of several candidates, in either light, it is the one of which the judge expects most.
        """
        window = busiest(light.luminance(np.clip(x0[0], 0, 1)), WINDOW_PX)
        y, before = (np.ascontiguousarray(p[:, :, window[0], window[1]]) for p in (self.y, x0))
        lights = light.LIGHTS if self.asked.light == "auto" else (self.asked.light,)
        best: Explanation | None = None
        small = scales.half(y, multiple=2)
        halves = self.f(small), small
        for tried in zip(*(self._tried(name, y, before, halves) for name in lights), strict=True):
            best = max((each for each in (best, *tried) if each is not None), key=lambda each: each.merit)
            if self.asked.decides and best.merit < HOPELESS_DB:
                break
        assert best is not None
        return best

    def _elsewhere(self, x0: np.ndarray, x1: np.ndarray) -> float | None:
        """Return the least that is expected of the busiest window of a quarter, where one window shows too little."""
        height, width = self.y.shape[2:]
        if self.networks.judge is None or height * width <= 2 * WINDOW_PX**2:
            return None
        gains = []
        for rows in (slice(0, height // 2), slice(height // 2, height)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                quarter = [p[:, :, rows, columns] for p in (self.y, x0, x1)]
                place = busiest(light.luminance(np.clip(quarter[1][0], 0, 1)), WINDOW_PX)
                y, before, made = (np.ascontiguousarray(p[:, :, place[0], place[1]]) for p in quarter)
                gains.append(self._gain(y, before, np.clip(made, 0, 1)))
        return min(gains)

    def _gain(self, y: np.ndarray, x0: np.ndarray, x1: np.ndarray, again: np.ndarray | None = None) -> float:
        """Return what the judge expects of a stroke, `again` being F(x1)."""
        assert self.networks.judge is not None
        again = self.f(x1) if again is None else again
        planes = (as_grey(y), as_grey(x0), as_grey(x1), light.luminance(again[0]))
        return uniformity.expected_gain(*planes, self.networks.judge)

    def _tried(
        self, name: str, y: np.ndarray, x0: np.ndarray, halves: tuple[np.ndarray, np.ndarray]
    ) -> Iterator[Explanation]:
        """Yield kernels that may blur x0 to y, (1, 3, H, W), in light `name`, the soonest found first.

        `halves` are F's result and y at half the size.
        One kernel is from F's result, one from y alone; of both there is what the network makes of their stroke.
        """
        side = min(SIDE_PX, (min(y.shape[2:]) - 1) // 2 * 2 + 1)
        sharper, blurry = as_grey(x0, name), as_grey(y, name)
        reader: estimation.Reader | None = None
        if self.networks.finder is not None and min(y.shape[2:]) >= 2 * estimation.FINDER_PX:
            reader = estimation.Reader(blurry, self.noise, self.networks.finder)
            maps = reader.first_maps(sharper, *(as_grey(p, name) for p in halves))
            judged, made = self._judged(reader.found(maps, sharper), name, y, x0)
            yield judged
            yield self._again(reader, judged, made, y, x0)
        effort = pyramid.QUICK if self.asked.decides else pyramid.FINE  # who asks for it has the time
        taps = estimation.placed(pyramid.blind_taps(blurry, side, effort), sharper, blurry)
        judged, made = self._judged(taps, name, y, x0)
        yield judged
        if reader is not None:
            yield self._again(reader, judged, made, y, x0)

    def _again(
        self, reader: estimation.Reader, last: Explanation, made: np.ndarray, y: np.ndarray, x0: np.ndarray
    ) -> Explanation:
        """Read the kernel again from what a stroke made with the last."""
        sharper = as_grey(made, last.kernel.light)
        taps = reader.found(reader.next_maps(sharper, last.kernel.taps), sharper)
        return self._judged(taps, last.kernel.light, y, x0)[0]

    def _judged(self, taps: np.ndarray, name: str, y: np.ndarray, x0: np.ndarray) -> tuple[Explanation, np.ndarray]:
        """Make a stroke of the window with these taps, and ask F, the edges and the judge what they think of it."""
        kernel = Kernel(taps, name)
        made = self.window(y, x0, kernel)
        again = self.f(made)
        left = uniformity.left_to_do(again - made, x0 - y)
        halo = uniformity.halo(as_grey(made), as_grey(x0), border=len(kernel.taps) // 2)
        gain = None if self.networks.judge is None else self._gain(y, x0, made, again)
        return Explanation(kernel, left, halo, gain), made

    def window(self, y: np.ndarray, x0: np.ndarray, kernel: Kernel) -> np.ndarray:
        """Return the first stroke of a window, (1, 3, H, W), clipped."""
        return np.clip(self._part(np.concatenate([y, x0], 1), kernel=kernel, stroke=1), 0, 1)

    def _part(self, both: np.ndarray, *, kernel: Kernel, stroke: int) -> np.ndarray:
        """Make a stroke of a part of the picture: y and x_{i-1} in six channels."""
        y, x = both[:, :3], both[:, 3:]
        if self.networks.g is None:
            return deconvolved(y, kernel=kernel)
        rho = golf.nearness(self.noise, stroke, linear=kernel.light == "linear")
        before = light.into(np.clip(x, -BEYOND, 1 + BEYOND), kernel.light)
        middle = light.out_of(DataTerm(light.into(y, kernel.light), kernel.taps).step(before, rho), kernel.light)
        told = np.full_like(middle[:, :1], golf.LEVEL_SCALE * golf.level(self.noise, stroke))
        return self.networks.g(np.concatenate([np.clip(middle, -0.5, 1.5), told], 1))


def as_grey(x: np.ndarray, name: str = "srgb") -> np.ndarray:
    """Return the luminance of (1, 3, H, W), clipped, in light `name`."""
    return light.into(light.luminance(np.clip(x[0], 0, 1)), name)


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
