"""Judging a network while it is trained: PSNR on fixed pairs, and a sheet of crops to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from golfdeblur.learning import data, networks, sources
from golfdeblur.learning.objective import Inputs
from golfdeblur.learning.recipe import Recipe

Pairs = list[tuple[Tensor, Tensor, str]]
"""Blurry and sharp, (3, H, W) uint8 each, and a name."""

Iterates = Callable[[Tensor], Iterator[Tensor]]
"""From y, (B, 3, H, W) in [0, 1], the estimates x_0, x_1, ..."""

SHEET_CROP_PX = 160
SHEET_ROWS = 3
CAPTION_PX = 16
CAPTION_CHARACTERS = 28


class Validation:
    """Fixed pairs in named sets; nothing here is ever trained on."""

    def __init__(self, sets: dict[str, Pairs], device: torch.device) -> None:
        self.sets = sets
        self.device = device

    @torch.no_grad()
    def scores(self, iterates: Iterates) -> dict[str, list[float]]:
        """Return for each set the mean PSNR in dB of y, x_0, x_1, ..., rounded to uint8 as a file would be."""
        result = {}
        for name, pairs in self.sets.items():
            rows = []
            for blurry, sharp, _ in pairs:
                y, target = self._float(blurry), self._float(sharp)
                rows.append([float(psnr_db(x, target)) for x in (y, *iterates(y))])
            result[name] = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        return result

    @torch.no_grad()
    def sheet(self, iterates: Iterates) -> Image.Image:
        """Show the middle of some pairs of every set: input, x0, x1, ..., sharp, each row one pair."""
        rows = []
        for name, pairs in self.sets.items():
            # Spread over the set: neighbouring names are often frames of one scene.
            for blurry, sharp, label in pairs[:: max(1, len(pairs) // SHEET_ROWS)][:SHEET_ROWS]:
                y, target = self._float(blurry), self._float(sharp)
                shown = [y, *iterates(y), target]
                titles = [f"{name}: {label}"[: CAPTION_CHARACTERS - 6], *(f"x{i}" for i in range(len(shown) - 2))]
                notes = [f"{t} {float(psnr_db(x, target)):.2f}" for t, x in zip(titles, shown[:-1], strict=True)]
                rows.append([_captioned(_middle(x), t) for x, t in zip(shown, [*notes, "sharp"], strict=True)])
        width = max((len(row) for row in rows), default=1)
        blank = np.zeros((SHEET_CROP_PX + CAPTION_PX, SHEET_CROP_PX, 3), np.uint8)
        lines = [np.concatenate([*row, *[blank] * (width - len(row))], 1) for row in rows]
        return Image.fromarray(np.concatenate(lines or [blank]))

    def _float(self, x: Tensor) -> Tensor:
        return x[None].to(self.device).float() / 255


def load_validation(config: Recipe, inputs: Inputs, device: torch.device) -> Validation:
    """Read all validation pairs, and the photographs that are held out; raises DataError for unusable data.

    Strokes that deconvolve need kernels, which no pairs have: they have none (research/deconvolution judges them).
    """
    if config.stage == "g" and networks.PRESETS[config.model].g.get("level"):
        return Validation({}, device)
    paths = [inputs.sources[source.name] for source in config.sources if source.kind == "photos"]
    smallest = sources.smallest_photo_px(config.blur, config.mixture.block_px)
    held_out = [photo for path in paths for photo in data.load_photos(path, held_out=True, smallest_px=smallest)]
    sets = {"photos": sources.validation_pairs(held_out, config.blur)} if held_out else {}
    return Validation(sets | {name: data.load_pairs(path) for name, path in inputs.validation.items()}, device)


def mean_gain_db(scores: dict[str, list[float]]) -> float:
    """Return the gain of the last estimate over the blurry image, the mean over all sets."""
    gains = [values[-1] - values[0] for values in scores.values()]
    return sum(gains) / len(gains) if gains else 0.0


def psnr_db(x: Tensor, sharp: Tensor) -> Tensor:
    """Return the PSNR in dB of `x` rounded to uint8 against `sharp`, both of any equal shape in [0, 1]."""
    rounded = (x.clamp(0, 1) * 255).round() / 255
    return -10 * torch.log10(((rounded - sharp) ** 2).mean().clamp(min=1e-10))


def _middle(x: Tensor) -> np.ndarray:
    height, width = x.shape[-2:]
    top, left = max(0, (height - SHEET_CROP_PX) // 2), max(0, (width - SHEET_CROP_PX) // 2)
    crop = x[0, :, top : top + SHEET_CROP_PX, left : left + SHEET_CROP_PX].clamp(0, 1)
    return (255 * crop).round().byte().permute(1, 2, 0).cpu().numpy()


def _captioned(pixels: np.ndarray, caption: str) -> np.ndarray:
    framed = Image.new("RGB", (SHEET_CROP_PX, SHEET_CROP_PX + CAPTION_PX))
    framed.paste(Image.fromarray(pixels), (0, CAPTION_PX))
    ImageDraw.Draw(framed).text((2, 2), caption[:CAPTION_CHARACTERS], fill="white")
    return np.asarray(framed)
