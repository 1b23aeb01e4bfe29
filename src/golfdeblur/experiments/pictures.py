"""Pairs for the experiments, the crops and strips that they show, and small measures of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from golfdeblur.errors import ConfigError
from golfdeblur.experiments.report import Settings
from golfdeblur.files import image
from golfdeblur.files.picture import from_samples
from golfdeblur.model import Model
from golfdeblur.runtimes import Network

QUICK_PX = 96


def pairs(settings: Settings, *, most: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, blurry and sharp, (H, W, 3) uint8, of `settings.data`; two made-up pairs in a smoke run without data.

    Raises ConfigError where data are needed and not given.
    """
    if settings.data is None:
        if not settings.quick:
            raise ConfigError("This experiment needs pairs; give a folder with blur/ and sharp/ by --data.")
        yield from _made_up()
        return
    found = image.find_pairs(settings.data)
    for name, blurry, sharp in found[: 2 if settings.quick else most]:
        y, x = image.read_rgb8(blurry), image.read_rgb8(sharp)
        if settings.quick:
            y, x = y[:QUICK_PX, :QUICK_PX], x[:QUICK_PX, :QUICK_PX]
        yield name, y, x


def _made_up() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        sharp = rng.integers(0, 256, (QUICK_PX // 6, QUICK_PX // 6, 3), np.uint8).repeat(6, 0).repeat(6, 1)
        blurry = np.mean([np.roll(sharp, shift, 1) for shift in range(-3, 4)], axis=0)
        yield f"made-up-{seed}", np.rint(blurry).astype(np.uint8), sharp


def as_input(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 as a network takes it, (1, 3, H, W) float32 in [0, 1]."""
    return from_samples(pixels).rows(0, len(pixels))


def as_pixels(x: np.ndarray) -> np.ndarray:
    """Return (1, 3, H, W) in [0, 1], clipped and rounded, as (H, W, 3) uint8."""
    return np.rint(255 * np.clip(x[0], 0, 1)).astype(np.uint8).transpose(1, 2, 0)


def f_and_g(model: Model) -> tuple[Network, Network]:
    """Return both networks. Raises ConfigError for a model without a corrector."""
    if model.g is None:
        raise ConfigError(f"Model '{model.weights.name}' has no corrector G; this experiment needs one.")
    return model.f, model.g


def crop(pixels: np.ndarray, side: int = 256) -> np.ndarray:
    """Return the middle of an image, at most `side` pixels each way."""
    top, left = (max(0, (n - side) // 2) for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def sharpness(pixels: np.ndarray) -> float:
    """Return the mean absolute Laplacian of the luminance in grey levels."""
    grey = pixels.astype(np.float64).mean(axis=2)
    inner = grey[1:-1, 1:-1]
    return float(np.abs(4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]).mean())


def histogram_distance(a: np.ndarray, b: np.ndarray, *, bins: int = 32) -> float:
    """Return the share of pixels that differ between two images' histograms, the mean over the colours, 0 to 1."""
    total = 0.0
    for channel in range(3):
        first, second = (np.histogram(x[:, :, channel], bins, (0, 256))[0] / x[:, :, channel].size for x in (a, b))
        total += float(np.abs(first - second).sum()) / 2
    return total / 3
