"""Files into tensors: sharp photographs, folders of real pairs and high-speed video, with every fault named.

Also the figures that describe pairs (`statistics`), by which synthetic ones are held against real ones.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur import machine
from golfdeblur.errors import DataError, GolfError
from golfdeblur.files import image

HELD_OUT_EVERY = 13
"""Of a photo folder, sorted by name, every 13th photo is kept for validation and never trained on."""


@dataclass(frozen=True)
class Photo:
    """A sharp photograph, (3, H, W) uint8, and the mean gradient and Laplacian of its 32-px blocks."""

    name: str
    pixels: Tensor
    gradient: Tensor
    laplacian: Tensor

    @classmethod
    def of(cls, name: str, pixels: Tensor) -> Photo:
        """Measure the blocks of `pixels`, (3, H, W) uint8."""
        gradient, laplacian = detail(pixels[None].float().mean(1, keepdim=True))
        return cls(name, pixels, nf.avg_pool2d(gradient, 32)[0, 0], nf.avg_pool2d(laplacian, 32)[0, 0])


def detail(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Return |gradient| (mean of both directions) and |Laplacian| of (B, 1, H, W), each (B, 1, H - 2, W - 2)."""
    middle = grey[..., 1:-1, 1:-1]
    right, left = grey[..., 1:-1, 2:], grey[..., 1:-1, :-2]
    down, up = grey[..., 2:, 1:-1], grey[..., :-2, 1:-1]
    return ((right - middle).abs() + (down - middle).abs()) / 2, (4 * middle - right - left - down - up).abs()


def load_photos(folder: Path, *, held_out: bool | None = False, smallest_px: int = 1) -> list[Photo]:
    """Read the photographs below `folder` but those kept for validation, with `held_out` only those, with None all.

    Raises DataError for an empty folder, for files that cannot be read (all are named) and for photos smaller than
    `smallest_px` on a side.
    """
    paths = image.images_in(folder)
    if held_out is not None:
        paths = [p for i, p in enumerate(paths) if (i % HELD_OUT_EVERY == 0) == held_out]
    if not paths:
        raise DataError(f"{folder} holds too few photographs; give a folder with two or more, better {HELD_OUT_EVERY}.")
    pixels = _read_all(paths)
    small = [str(path) for path, x in zip(paths, pixels, strict=True) if min(x.shape[-2:]) < smallest_px]
    if small:
        raise DataError(
            f"Smaller than {smallest_px} px on a side: {', '.join(small)}; remove them or train on smaller patches."
        )
    return [Photo.of(path.name, x) for path, x in zip(paths, pixels, strict=True)]


def load_pairs(folder: Path, *, blurry: str = "blur", smallest_px: int = 1) -> list[tuple[Tensor, Tensor, str]]:
    """Read all pairs that `image.find_pairs` lists, as (3, H, W) uint8 tensors with their names.

    Raises DataError for unreadable files, unequal sizes and images smaller than `smallest_px`, each time naming all.
    """
    names, blurs, sharps = zip(*image.find_pairs(folder, blurry=blurry), strict=True)
    left, right = _read_all(list(blurs)), _read_all(list(sharps))
    pairs = list(zip(left, right, names, strict=True))
    unequal = [name for b, s, name in pairs if b.shape != s.shape]
    if unequal:
        raise DataError(f"Blurry and sharp differ in size: {', '.join(unequal)}; both must show the same pixels.")
    small = [name for _, s, name in pairs if min(s.shape[-2:]) < smallest_px]
    if small:
        raise DataError(
            f"Smaller than {smallest_px} px on a side: {', '.join(small)}; remove them or train on smaller patches."
        )
    return pairs


def load_video(path: Path, *, fewest: int = 1, smallest_px: int = 1) -> Tensor:
    """Return all frames of a video as (T, 3, H, W) uint8.

    Raises DataError if it cannot be read, holds less than `fewest` frames, or is smaller than `smallest_px` on a side.
    """
    frames = list(stream_video(path))
    if len(frames) < fewest:
        raise DataError(f"{path} holds {len(frames)} video frames; give a clip with at least {fewest}.")
    if min(frames[0].shape[1:]) < smallest_px:
        height, width = frames[0].shape[1:]
        raise DataError(
            f"{path} is {width} x {height} px, smaller than {smallest_px} px on a side; give a larger clip or train on "
            "smaller patches."
        )
    return torch.stack(frames)


def stream_video(path: Path) -> Iterator[Tensor]:
    """Yield the frames of a video, (3, H, W) uint8 each. Raises DataError if it cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read as a video ({error}); give a file that ffmpeg can decode.") from error


def _read_all(paths: list[Path]) -> list[Tensor]:
    def read(path: Path) -> Tensor | str:
        try:
            return torch.from_numpy(np.ascontiguousarray(image.read_rgb8(path).transpose(2, 0, 1)))
        except GolfError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(machine.threads()) as pool:
        results = list(pool.map(read, paths))
    broken = [r for r in results if isinstance(r, str)]
    if broken:
        raise DataError(" ".join(broken))
    return [r for r in results if not isinstance(r, str)]


def statistics(blurry: Tensor, sharp: Tensor) -> dict[str, float]:
    """Describe pairs, (B, 3, H, W) in [0, 1], by the figures that must match those of real ones.

    Laplacian and gradient are means over the grey sharp images in the range 0 to 255; PSNR is of blurry against
    sharp, one value a pair.
    """
    gradient, laplacian = detail(255 * sharp.mean(1, keepdim=True))
    blurred, _ = detail(255 * blurry.mean(1, keepdim=True))
    psnr_db = -10 * torch.log10(((blurry - sharp) ** 2).mean((1, 2, 3)).clamp(min=1e-10))
    ratio = blurred.mean((1, 2, 3)) / gradient.mean((1, 2, 3)).clamp(min=1e-6)
    low, high = psnr_db.quantile(0.1), psnr_db.quantile(0.9)
    values = [laplacian.mean(), gradient.mean(), ratio.mean(), psnr_db.mean(), low, high]
    names = ["laplacian", "gradient", "gradient_ratio", "psnr_db", "psnr_db_p10", "psnr_db_p90"]
    return dict(zip(names, map(float, values), strict=True))
