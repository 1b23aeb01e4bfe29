"""Read the kernel k from a sharper picture x and the blurry y: k * x = y, where x has edges that can be trusted.

Least squares on gradients, k = argmin sum_d |d_d s * k - d_d y|^2 + gamma |k|^2, s being the strong edges of x.
Source: Cho, Lee, "Fast motion deblurring" (2009). A network then makes a kernel of what the least squares see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from golfdeblur.deconvolution import fourier

EDGES_PER_PX = 60
"""So many of the strongest gradients of each of four directions are trusted, for each pixel of the kernel's side."""

GAMMA = 2.0
TV_WEIGHT = 2e-3
CUT, CUT_FOUND = 0.05, 0.03
"""Taps below this share of the highest are noise: of a least squares' kernel, and of one that a network found."""

SMALLEST_PART = 0.1
"""Taps that hang together but hold less than this share of the light are noise."""

CONJUGATE_GRADIENTS = 25

FINDER_PX, FINDER_NOISE_SCALE = 51, 20.0
"""Side of the maps that the network which finds kernels sees, and how many times the noise it is told."""

MIDDLE_PX = 3.0
"""So far from the middle of a map reaches what noise does to it."""


@dataclass
class Window:
    """A blurry plane, wrapped, with the spectra of its gradients."""

    y: np.ndarray
    side: int
    wrapped: np.ndarray
    inside: np.ndarray
    spectra: list[np.ndarray]

    @classmethod
    def of(cls, y: np.ndarray, side: int) -> Window:
        """Return the window of a plane (H, W) for a kernel of that side."""
        wrapped = fourier.continued(y, 2 * side)
        inside = np.zeros(wrapped.shape, np.float32)
        inside[: y.shape[0] - 1, : y.shape[1] - 1] = 1
        spectra = [fourier.transform(d * inside) for d in fourier.gradient(wrapped)]
        return cls(y, side, wrapped, inside, spectra)

    def edges(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the differences of a wrapped plane to the next column and row, those inside of y."""
        return [d * self.inside for d in fourier.gradient(x)]

    def continued(self, x: np.ndarray) -> np.ndarray:
        """Return a plane of y's size, clipped and wrapped."""
        return fourier.continued(np.clip(x[: self.y.shape[0], : self.y.shape[1]], 0, 1), 2 * self.side)


class Reader:
    """Reads the kernel of one blurry plane y, (H, W) of light, with the network K: from F's result, then from better.

    `finder` maps what it sees, (B, 5, n, n) with n = FINDER_PX, to kernels of sum 1, (B, 1, n, n). The maps: the least
    squares' kernel on all strong edges of the present x; the one before it (at first that at half the size, enlarged;
    then that of F's result); the autocorrelation of y's gradients; the noise; and the kernel found before, at first
    nothing. Where there is noise the first two have a peak in the middle that hides the kernel from a threshold: F
    keeps much of y's noise, and noise is like itself.
    """

    def __init__(self, y: np.ndarray, noise: float, finder: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.y, self.finder = y, finder
        self.window = Window.of(y, FINDER_PX)
        power = sum(s.real**2 + s.imag**2 for s in self.window.spectra)
        self._known = [
            _scaled(_correlation(power, self.window.wrapped.shape, FINDER_PX // 2)),
            np.full((FINDER_PX, FINDER_PX), FINDER_NOISE_SCALE * noise),
        ]
        self._of_f = np.empty(0)

    def first_maps(self, x0: np.ndarray, x_half: np.ndarray, y_half: np.ndarray) -> np.ndarray:
        """Return the maps of F's result `x0`, and of F's result and y at half the size, (5, n, n) float32."""
        small = FINDER_PX // 4 * 2 + 1
        self._of_f = _scaled(_at_once(self.window, x0))
        half = _scaled(enlarged(np.maximum(_at_once(Window.of(y_half, small), x_half), -1), FINDER_PX))
        return np.stack([self._of_f, half, *self._known, np.zeros_like(half)]).astype(np.float32)

    def next_maps(self, x: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """Return the maps of `x`, which a stroke made with `taps`; `first_maps` come before."""
        before = _fitted(taps, FINDER_PX)
        seen = [_scaled(_at_once(self.window, x)), self._of_f, *self._known, before / max(float(before.max()), 1e-6)]
        return np.stack(seen).astype(np.float32)

    def found(self, maps: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the taps that the network finds in `maps`, the mean over all eight turns, where `x` wants them."""
        assert self.finder is not None
        turned = [np.rot90(m, turn, (1, 2)) for m in (maps, maps[:, :, ::-1]) for turn in range(4)]
        kernels = self.finder(np.ascontiguousarray(np.stack(turned)))[:, 0]
        back = [np.rot90(k, -turn) for k, turn in zip(kernels, (*range(4), *range(4)), strict=True)]
        taps = sum(back[:4]) + sum(k[:, ::-1] for k in back[4:])
        return placed(tidied(taps / 8, CUT_FOUND), x, self.y)


def _fitted(taps: np.ndarray, side: int) -> np.ndarray:
    """Return square taps of an odd side, cut or padded around their middle to another."""
    cut = (len(taps) - side) // 2
    return taps[cut : cut + side, cut : cut + side] if cut > 0 else np.pad(taps, -cut)


def enlarged(taps: np.ndarray, side: int) -> np.ndarray:
    """Return square taps at twice the resolution, linearly between the old ones, of sum 1, cut or padded to `side`."""
    old = len(taps)
    new = 2 * old + 1
    place = (np.arange(new) - new // 2) / 2 + old // 2
    weights = np.maximum(0, 1 - abs(place[:, None] - np.arange(old)))
    made = _fitted(weights @ taps @ weights.T, side)
    return made / made.sum()


def _at_once(window: Window, x: np.ndarray) -> np.ndarray:
    return least_squares(window, strong(window.edges(window.continued(x)), EDGES_PER_PX * window.side))


def _scaled(plane: np.ndarray) -> np.ndarray:
    """Return a map whose greatest value outside of its middle is 1; what goes far beyond that is cut off."""
    places = np.arange(len(plane)) - len(plane) // 2
    outside = np.hypot(places[:, None], places) > MIDDLE_PX
    return np.clip(plane / max(float(plane[outside].max()), 1e-9), -1, 3)


def strong(edges: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Keep the `count` strongest edges of each of four directions, and all that are as strong."""
    across, down = edges
    power = across**2 + down**2
    octant = np.minimum((np.arctan2(down, across) % np.pi / (np.pi / 4)).astype(int), 3)
    of_each = [power[octant == direction] for direction in range(4)]
    threshold = min(float(np.sort(p)[-min(count + 1, p.size)]) if p.size else 0.0 for p in of_each)
    kept = power >= min(threshold, float(power.max()))
    return [across * kept, down * kept]


def least_squares(window: Window, edges: Sequence[np.ndarray]) -> np.ndarray:
    """Return k = argmin sum |edges * k - gradients of y|^2 + GAMMA |k|^2, by conjugate gradients on correlations."""
    spectra = [fourier.transform(edge) for edge in edges]
    shape, side = window.wrapped.shape, window.side
    cross = sum(np.conj(s) * t for s, t in zip(spectra, window.spectra, strict=True))
    auto = sum(s.real**2 + s.imag**2 for s in spectra)
    wanted = _correlation(cross, shape, side // 2)
    around = _correlation(auto, shape, side - 1)
    length = fourier.fast_length(2 * side - 1)
    plane = np.zeros((length, length))
    plane[: 2 * side - 1, : 2 * side - 1] = around
    operator = np.fft.rfft2(np.roll(plane, (1 - side, 1 - side), (0, 1)))

    def apply(k: np.ndarray) -> np.ndarray:
        spread = np.fft.rfft2(k, s=(length, length))
        return np.fft.irfft2(operator * spread, s=(length, length))[:side, :side] + GAMMA * k

    k = np.full((side, side), 1 / side**2)
    residual = wanted - apply(k)
    direction, power = residual.copy(), float((residual**2).sum())
    for _ in range(CONJUGATE_GRADIENTS):
        applied = apply(direction)
        along = power / max(float((direction * applied).sum()), 1e-20)
        k += along * direction
        residual -= along * applied
        before, power = power, float((residual**2).sum())
        if power < 1e-10:
            break
        direction = residual + power / before * direction
    return k


def _correlation(spectrum: np.ndarray, shape: tuple[int, ...], reach: int) -> np.ndarray:
    plane = np.fft.irfft2(spectrum, s=shape)
    places = np.arange(-reach, reach + 1)
    return plane[places[:, None] % shape[0], places[None, :] % shape[1]].astype(float)


def tidied(taps: np.ndarray, cut: float = CUT) -> np.ndarray:
    """Return `taps` without what is noise, of sum 1 and float32; a single tap in the middle where nothing is left."""
    taps = np.where(taps >= cut * taps.max(), taps, 0)
    if taps.sum() > 0:
        taps = taps / taps.sum()
        parts = _connected(taps > 0)
        light = np.bincount(parts.ravel(), taps.ravel())
        taps = np.where(light[parts] >= SMALLEST_PART, taps, 0)
    if taps.sum() <= 0:
        taps = np.zeros_like(taps)
        taps[taps.shape[0] // 2, taps.shape[1] // 2] = 1
    return (taps / taps.sum()).astype(np.float32)


def _connected(mask: np.ndarray) -> np.ndarray:
    """Return a number for each pixel of `mask`, (H, W) bool, equal for those that touch, corners too; 0 outside."""
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(numbers, 1)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max((2, 3))
        grown = np.where(mask, around, 0)
        if (grown == numbers).all():
            return np.unique(numbers, return_inverse=True)[1].reshape(mask.shape)
        numbers = grown


def placed(taps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Move `taps` by whole pixels to where k * `x` lies nearest to `y`, in a larger array of odd sides if need be."""
    side = max(taps.shape)
    a, b = (fourier.continued(plane, 2 * side) for plane in (x, y))
    blurred = fourier.transfer_function(taps, a.shape) * fourier.transform(a)
    spectrum = fourier.gradient_power(a.shape) * np.conj(blurred) * fourier.transform(b)
    likeness = _correlation(spectrum, a.shape, max(side // 2 - 2, 0))
    down, right = np.unravel_index(likeness.argmax(), likeness.shape)
    return moved(taps, int(down) - likeness.shape[0] // 2, int(right) - likeness.shape[1] // 2)


def moved(taps: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move `taps` by whole pixels; the array is cut to its light, with the middle where it was."""
    rows, columns = np.nonzero(taps)
    reach = [
        int(max(abs(places - n // 2 + by).max(), 1))
        for places, n, by in ((rows, taps.shape[0], down), (columns, taps.shape[1], right))
    ]
    half = max(reach)
    out = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    out[rows - taps.shape[0] // 2 + down + half, columns - taps.shape[1] // 2 + right + half] = taps[rows, columns]
    return out
