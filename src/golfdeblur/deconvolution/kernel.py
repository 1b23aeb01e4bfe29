"""The kernel k of eq. 1, y = k * x + n: what a point of light became while the shutter was open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golfdeblur.deconvolution import light as lights
from golfdeblur.errors import ConfigError, ImageError

MOST_PX = 301
"""The largest side of a kernel."""

FINENESS = 8
"""Points for each pixel of a drawn motion, and of a disc's edge."""


@dataclass(frozen=True)
class Kernel:
    """Taps of sum 1, (n, n) float32 with n odd and the middle at n // 2, and the light in which they blur."""

    taps: np.ndarray
    light: str = "srgb"
    """One of `light.LIGHTS`."""

    def __post_init__(self) -> None:
        if self.light not in lights.LIGHTS:
            raise ConfigError(f"Light '{self.light}' is unknown; use {' or '.join(lights.LIGHTS)}.")
        taps = np.asarray(self.taps, np.float64)
        if taps.ndim != 2 or not taps.size or max(taps.shape) > MOST_PX:
            raise ConfigError(f"A kernel of shape {taps.shape} cannot be used; give a grey picture up to {MOST_PX} px.")
        if not np.isfinite(taps).all() or taps.min() < 0 or taps.sum() <= 0:
            raise ConfigError("A kernel must have finite taps from 0 on that are not all 0; give another one.")
        half = max(n // 2 for n in taps.shape)  # the middle of an even side lies at n // 2
        square = np.zeros((2 * half + 1, 2 * half + 1))
        top, left = (half - n // 2 for n in taps.shape)
        square[top : top + taps.shape[0], left : left + taps.shape[1]] = taps
        object.__setattr__(self, "taps", (square / square.sum()).astype(np.float32))

    @property
    def extent_px(self) -> float:
        """The diagonal of the box that holds all taps above a twentieth of the highest, in pixels; 0 for a point."""
        rows, columns = np.nonzero(self.taps > self.taps.max() / 20)
        return math.hypot(float(np.ptp(rows)), float(np.ptp(columns)))

    @classmethod
    def from_motion(cls, length_px: float, angle_degrees: float, *, light: str = "linear") -> Kernel:
        """Return the kernel of a straight, even motion: `angle_degrees` counter-clockwise from the right.

        Raises ConfigError for a length that is not between 1 and 300 px.
        """
        _check("length", length_px)
        along = np.linspace(-length_px / 2, length_px / 2, max(2, math.ceil(length_px * FINENESS)))
        angle = math.radians(angle_degrees)
        return cls(_splat(-along * math.sin(angle), along * math.cos(angle)), light)

    @classmethod
    def from_disc(cls, radius_px: float, *, light: str = "linear") -> Kernel:
        """Return the kernel of a lens out of focus, a disc. Raises ConfigError unless it is 1 to 300 px wide."""
        _check("width", 2 * radius_px)
        steps = (np.arange(2 * math.ceil(radius_px) * FINENESS + FINENESS) + 0.5) / FINENESS
        steps -= steps.mean()
        rows, columns = np.meshgrid(steps, steps, indexing="ij")
        inside = rows**2 + columns**2 <= radius_px**2
        return cls(_splat(rows[inside], columns[inside]), light)

    @classmethod
    def read(cls, path: Path, *, light: str = "linear") -> Kernel:
        """Read a kernel from a .npy array or a grey picture. Raises ImageError or, for bad taps, ConfigError."""
        from PIL import Image

        try:
            if path.suffix.lower() == ".npy":
                taps = np.load(path, allow_pickle=False)
            else:
                with Image.open(path) as picture:
                    grey = picture if picture.mode in ("I", "I;16", "F", "L") else picture.convert("L")
                    taps = np.asarray(grey, np.float64)
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(f"{path} cannot be read as a kernel ({error}); give a .npy, .png or .tif file.") from error
        return cls(taps, light)

    def picture(self) -> np.ndarray:
        """Return the taps as a grey picture, (n, n) uint16, the highest tap white."""
        return (self.taps / self.taps.max() * 65535).round().astype(np.uint16)

    def encoded(self, suffix: str) -> bytes:
        """Return the file of the kernel: .npy holds the taps, .png and .tif the `picture`. Raises ConfigError."""
        import io

        from PIL import Image

        out = io.BytesIO()
        if suffix.lower() == ".npy":
            np.save(out, self.taps)
        elif suffix.lower() in (".png", ".tif", ".tiff"):
            Image.fromarray(self.picture()).save(out, "PNG" if suffix.lower() == ".png" else "TIFF")
        else:
            raise ConfigError(f"A kernel cannot be saved as '{suffix}'; use .npy, .png or .tif.")
        return out.getvalue()


def _check(what: str, px: float) -> None:
    if not 1 <= px < MOST_PX:
        raise ConfigError(f"A {what} of {px:g} px is given; 1 to {MOST_PX - 1} px are allowed.")


def _splat(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Share points out to the four pixels around each, on the smallest odd square around (0, 0)."""
    half = math.ceil(max(abs(rows).max(), abs(columns).max()))
    taps = np.zeros((2 * half + 3, 2 * half + 3))
    top, left = np.floor(rows), np.floor(columns)
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - abs(rows - top - down)) * (1 - abs(columns - left - right))
            np.add.at(taps, (top.astype(int) + down + half + 1, left.astype(int) + right + half + 1), share)
    return taps / taps.sum()
