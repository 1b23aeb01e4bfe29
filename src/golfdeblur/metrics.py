"""PSNR and SSIM by named protocols: one set of outputs scores differently under each, so every figure names its own.

PSNR is 10 log10(255^2 / MSE) over all pixels and channels of an 8-bit pair. SSIM (Wang et al., 2004) uses K1 = 0.01,
K2 = 0.03 and the range 255 in all three protocols; they differ in window, borders and channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from golfdeblur.errors import DataError

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(x: np.ndarray, reference: np.ndarray) -> float:
    """Return the PSNR in dB of two uint8 images of one shape; infinite for equal ones. Raises DataError.

    Examples:
        >>> x = np.full((16, 16, 3), 100, np.uint8)
        >>> round(psnr(x, x + np.uint8(1)), 2)
        48.13
    """
    _check(x, reference)
    error = np.square(x.astype(np.float64) - reference).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim(x: np.ndarray, reference: np.ndarray, protocol: str) -> float:
    """Return the SSIM of two (H, W, 3) uint8 images by one of the `PROTOCOLS`. Raises DataError.

    Examples:
        >>> x = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
        >>> round(ssim(x, x // 2, "gaussian-2d"), 2)
        0.64
    """
    _check(x, reference)
    if protocol not in PROTOCOLS:
        raise DataError(f"SSIM protocol '{protocol}' is unknown; use one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[protocol](x.astype(np.float64), reference.astype(np.float64))


def at_best_shift(x: np.ndarray, reference: np.ndarray, reach_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `x` moved to where its PSNR is highest, and `reference`, both without a border of `reach_px`.

    A blur does not tell where the camera stood, so a result may lie beside the sharp photo and be as right as any.
    Moves of whole px, up to `reach_px` to every side, are compared first, then quarters around the best, bilinear
    between pixels, which also smooths. Levin et al. (2009) do so with 5 px, leaving out a border of 15. Both images are
    (H, W, C) uint8. Raises DataError for images that leave less than 11 px, a window of SSIM.

    Examples:
        >>> x = np.arange(24 * 24 * 3, dtype=np.uint8).reshape(24, 24, 3)
        >>> moved, reference = at_best_shift(np.roll(x, 2, axis=1), x, reach_px=4)
        >>> moved.shape, np.array_equal(moved, reference)
        ((16, 16, 3), True)
    """
    _check(x, reference)
    least = 2 * reach_px + 11
    if min(x.shape[:2]) < least:
        raise DataError(
            f"A shift of up to {reach_px} px needs images of at least {least} px a side; this one is "
            f"{x.shape[1]}x{x.shape[0]}. Give a smaller shift."
        )
    target = reference[reach_px:-reach_px, reach_px:-reach_px]
    exact = target.astype(np.float32)

    def error(corner: Sequence[float]) -> float:
        return float(np.square(_part(x, corner, target.shape) - exact).mean())

    top, left = min(itertools.product(range(2 * reach_px + 1), repeat=2), key=error)
    quarters = np.arange(-3, 4) / 4
    near = itertools.product(*(np.clip(place + quarters, 0, 2 * reach_px) for place in (top, left)))
    return _part(x, min(near, key=error), target.shape).round().astype(np.uint8), target


def _part(x: np.ndarray, corner: Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    """Return the part of `x` of `shape` whose first pixel lies at `corner`, (row, column), bilinear, in float32."""
    for axis, place in enumerate(corner):
        first = int(place)
        taken = x.take(range(first, first + shape[axis]), axis).astype(np.float32)
        if place > first:
            taken += np.float32(place - first) * (x.take(range(first + 1, first + 1 + shape[axis]), axis) - taken)
        x = taken
    return x


def _check(x: np.ndarray, reference: np.ndarray) -> None:
    if x.shape != reference.shape:
        raise DataError(f"Images of {x.shape} and {reference.shape} cannot be compared; they must have one size.")
    if x.dtype != np.uint8 or reference.dtype != np.uint8:
        raise DataError(f"Images of {x.dtype} and {reference.dtype} cannot be compared; both must be uint8.")


def gaussian_3d(x: np.ndarray, reference: np.ndarray) -> float:
    """MATLAB's ssim() of an RGB array, which it takes for a volume.

    An 11x11x11 Gaussian of sigma 1.5, borders repeated: the protocol of MPRNet's and later papers' GoPro tables.
    """
    across = _gaussian_matrix(x.shape[2])

    def blur(volume: np.ndarray) -> np.ndarray:
        padded = np.pad(volume @ across.T, ((5, 5), (5, 5), (0, 0)), mode="edge")
        return _filter(padded, _GAUSSIAN)

    return _mean_ssim(x, reference, blur)


def gaussian_2d(x: np.ndarray, reference: np.ndarray) -> float:
    """Wang's SSIM channel by channel: an 11x11 Gaussian of sigma 1.5 wherever it lies inside the image."""
    _check_window(x, 11)
    return _mean_ssim(x, reference, lambda image: _filter(image, _GAUSSIAN))


def uniform_7(x: np.ndarray, reference: np.ndarray) -> float:
    """scikit-image's default, channel by channel: a flat 7x7 window inside the image, sample covariance (n - 1)."""
    _check_window(x, 7)
    flat = np.full(7, 1 / 7)
    return _mean_ssim(x, reference, lambda image: _filter(image, flat), scale=49 / 48)


PROTOCOLS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "gaussian-3d": gaussian_3d,
    "gaussian-2d": gaussian_2d,
    "uniform-7": uniform_7,
}
"""SSIM by name of protocol, for (H, W, 3) float64 arrays in [0, 255]."""


def _check_window(x: np.ndarray, window: int) -> None:
    if min(x.shape[:2]) < window:
        raise DataError(f"SSIM needs images of at least {window} px a side; this one is {x.shape[1]}x{x.shape[0]}.")


_GAUSSIAN = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_GAUSSIAN /= _GAUSSIAN.sum()


def _gaussian_matrix(length: int) -> np.ndarray:
    """Return the (length, length) matrix of the 11-tap Gaussian with borders repeated."""
    matrix = np.zeros((length, length))
    for row in range(length):
        for tap, weight in enumerate(_GAUSSIAN):
            matrix[row, min(max(row + tap - 5, 0), length - 1)] += weight
    return matrix


def _filter(image: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter (H, W, C) along height and width where the taps lie inside."""
    height, width = (n - len(taps) + 1 for n in image.shape[:2])
    rows = sum(weight * image[i : i + height] for i, weight in enumerate(taps))
    return sum(weight * rows[:, i : i + width] for i, weight in enumerate(taps))


def _mean_ssim(x: np.ndarray, y: np.ndarray, blur: Callable[[np.ndarray], np.ndarray], *, scale: float = 1.0) -> float:
    mean_x, mean_y = blur(x), blur(y)
    variances = scale * (blur(x * x + y * y) - mean_x**2 - mean_y**2)
    covariance = scale * (blur(x * y) - mean_x * mean_y)
    means = mean_x * mean_y
    ratio = (2 * means + _C1) * (2 * covariance + _C2)
    return float((ratio / ((mean_x**2 + mean_y**2 + _C1) * (variances + _C2))).mean())
