"""Pairs on disk, to look at and to share: from photographs with synthetic blur, and from high-speed video."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from golfdeblur.errors import ConfigError, DataError
from golfdeblur.files import atomic
from golfdeblur.learning import blur, data
from golfdeblur.learning.sources import PhotoSource, average_clip, seeded_generator


def pairs_from_photos(
    folder: Path, *, count: int, light: str, size_px: int = 256, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor, str]]:
    """Yield `count` (blurry, sharp, name), (3, size_px, size_px) uint8, as training makes them, without JPEG.

    `light` is srgb or linear. Raises DataError for unusable photographs.
    """
    config = dataclasses.replace(blur.BlurConfig(), jpeg=0.0, linear_light=float(_is_linear(light)))
    photos = data.load_photos(folder, held_out=None, smallest_px=size_px + 2 * config.margin_px)
    source = PhotoSource(photos, config)
    generator = seeded_generator(seed, 3)
    for first in range(0, count, 8):
        crops = source.crops(generator, min(8, count - first), size_px=size_px, device=torch.device("cpu"))
        for index, (blurry, sharp, name) in enumerate(crops, first):
            yield _bytes(blurry), _bytes(sharp), f"{index:05}-{Path(name).stem}"


def pairs_from_video(
    path: Path, *, frames: tuple[int, int], light: str, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor, str]]:
    """Yield (blurry, sharp, name) of one run of frames after the other, (3, H, W) uint8; no frame is used twice.

    Each run is an odd number of frames from `frames` = (least, most), drawn at random; the middle one is the sharp
    image. The video is read as a stream. Raises DataError for a file that is no video or too short.
    """
    linear = _is_linear(light)
    least, most = frames
    lengths = [n for n in range(least, most + 1) if n % 2]
    if least < 1 or not lengths:
        raise ConfigError(f"frames {least}-{most} hold no odd count above 0; give for example 7-13.")
    generator = seeded_generator(seed, 4)
    wanted, clip, made, first = _draw(lengths, generator), list[Tensor](), 0, 0
    for number, frame in enumerate(data.stream_video(path)):
        clip.append(frame)
        if len(clip) == wanted:
            blurry, sharp = average_clip(torch.stack(clip).float() / 255, linear=linear)
            yield _bytes(blurry), _bytes(sharp), f"{first:06}-{wanted}"
            wanted, clip, made, first = _draw(lengths, generator), [], made + 1, number + 1
    if not made:
        raise DataError(f"{path} has only {len(clip)} frames; give a longer clip, or less than {most} by --frames.")


def write_pair(pair: tuple[Tensor, Tensor, str], folder: Path) -> None:
    """Write one pair as PNG to folder/blur and folder/sharp. Raises DataError where that is impossible."""
    blurry, sharp, name = pair
    for part, pixels in (("blur", blurry), ("sharp", sharp)):
        target = folder / part / f"{name}.png"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic.replacing(target) as file:
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, format="PNG")
        except OSError as error:
            raise DataError(f"{target} cannot be written ({error.strerror}); choose another --out.") from error


def _bytes(x: Tensor) -> Tensor:
    return (255 * x).round().byte()


def _draw(lengths: list[int], generator: torch.Generator) -> int:
    return lengths[int(torch.randint(len(lengths), (), generator=generator))]


def _is_linear(light: str) -> bool:
    if light not in ("srgb", "linear"):
        raise ConfigError(f"light is '{light}'; use srgb, as GoPro's blur has it, or linear, as a camera does.")
    return light == "linear"
