"""Planes, (..., H, W) float32, in Fourier space: borders, transfer functions and gradients of a plane that wraps round.

A photograph does not wrap round, so it is continued first until its opposite edges meet (`continued`): what a camera
saw beyond the border is unknown, and any jump there would echo through the picture.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def fast_length(least: int) -> int:
    """Return the smallest length from `least` on that an FFT is fast for: even, of factors 2, 3, 5 and 7."""
    length = max(2, least + least % 2)
    while True:
        rest = length
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 2


def continued(plane: np.ndarray, margin: int) -> np.ndarray:
    """Continue `plane`, (..., H, W), below and to the right by `margin` pixels or more, to a fast length.

    What is added leads from each edge to the opposite one, so that the plane wraps round without a jump.
    """
    for axis in (-2, -1):
        added = fast_length(plane.shape[axis] + margin) - plane.shape[axis]
        shape = [1] * plane.ndim
        shape[axis] = added
        t = np.linspace(0, 1, added + 2, dtype=np.float32)[1:-1].reshape(shape)
        last, first = plane.take([-1], axis), plane.take([0], axis)
        plane = np.concatenate([plane, (1 - t) * last + t * first], axis)
    return np.asarray(plane, np.float32)


def transform(plane: np.ndarray) -> np.ndarray:
    """Return the spectrum of real planes, (..., H, W / 2 + 1) complex64."""
    return np.fft.rfft2(plane).astype(np.complex64, copy=False)


def inverse(spectrum: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the planes of (H, W) = `shape` that have this spectrum, float32."""
    return np.fft.irfft2(spectrum, s=shape[-2:]).astype(np.float32, copy=False)


def transfer_function(taps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the spectrum of a kernel, (h, w) with its middle at (h // 2, w // 2), on planes of (H, W) = `shape`."""
    rows, columns = taps.shape
    plane = np.zeros(shape[-2:], np.float32)
    down = (np.arange(rows) - rows // 2) % plane.shape[0]
    across = (np.arange(columns) - columns // 2) % plane.shape[1]
    np.add.at(plane, (down[:, None], across[None, :]), taps)  # a kernel larger than the plane wraps round with it
    return transform(plane)


def gradient(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences to the next column and to the next row, round the border."""
    return np.roll(plane, -1, -1) - plane, np.roll(plane, -1, -2) - plane


def gradient_adjoint(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Apply the exact adjoint of `gradient`, which is minus the divergence."""
    return np.roll(across, 1, -1) - across + np.roll(down, 1, -2) - down


def gradient_power(shape: tuple[int, ...]) -> np.ndarray:
    """Return the power of `gradient` at every frequency, (H, W / 2 + 1): its adjoint of itself, minus the Laplacian."""
    height, width = shape[-2:]
    down = 2 - 2 * np.cos(2 * np.pi * np.arange(height) / height)
    across = 2 - 2 * np.cos(2 * np.pi * np.arange(width // 2 + 1) / width)
    return (down[:, None] + across).astype(np.float32)
