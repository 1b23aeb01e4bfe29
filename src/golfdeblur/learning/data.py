"""Training pairs: photographs with synthetic blur, folders of real pairs, and high-speed video, mixed by weight.

A `Mixture` cuts training batches in two stages, both functions of (seed, number) alone, so that a resumed run sees
what an unbroken one would have seen. Every `steps_per_block` steps a *block* of larger pairs is made from all
sources (this is where blur is synthesised); every step cuts its patches from the last few blocks.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur import image
from golfdeblur.errors import DataError, GolfError
from golfdeblur.learning import blur

HELD_OUT_EVERY = 13
"""Of a photo folder, sorted by name, every 13th photo is kept for validation and never trained on."""

Crop = tuple[Tensor, Tensor, str]
"""Blurry and sharp, (3, S, S) uint8 or float, and the name of the file they come from."""


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


class PhotoSource:
    """Sharp photographs, blurred synthetically."""

    def __init__(self, photos: list[Photo], config: blur.BlurConfig) -> None:
        self.photos = photos
        self.config = config

    def crops(self, generator: torch.Generator, count: int, *, size_px: int, device: torch.device) -> list[Crop]:
        """Make `count` pairs of crops."""
        if count == 0:
            return []
        side = size_px + 2 * self.config.margin_px
        chosen = [self._cut(generator, side) for _ in range(count)]
        source = torch.stack([pixels for pixels, _ in chosen]).to(device).float() / 255
        blurry, sharp = blur.random_pairs(source, generator, self.config, size_px=size_px)
        return [(b, s, name) for b, s, (_, name) in zip(blurry, sharp, chosen, strict=True)]

    def _cut(self, generator: torch.Generator, side: int) -> tuple[Tensor, str]:
        """Cut a crop, most often one with texture that is in focus: a soft target teaches not to sharpen."""
        any_will_do = torch.rand((), generator=generator) < 0.08
        for attempt in range(8):
            photo = self.photos[int(torch.randint(len(self.photos), (), generator=generator))]
            top, left = _random_corner(generator, photo.pixels.shape[-2:], side)
            if any_will_do or attempt == 7 or _in_focus(photo, top, left, side):
                break
        return photo.pixels[:, top : top + side, left : left + side], photo.name


def _in_focus(photo: Photo, top: int, left: int, side: int) -> bool:
    rows = slice(top // 32, (top + side) // 32)
    columns = slice(left // 32, (left + side) // 32)
    gradient, laplacian = photo.gradient[rows, columns].flatten(), photo.laplacian[rows, columns].flatten()
    if not len(gradient):
        return True
    energetic = gradient >= gradient.quantile(0.7)
    textured = float(gradient.mean()) > 1.5
    crisp = float(laplacian[energetic].mean() / gradient[energetic].mean().clamp(min=1e-3)) > 1.1
    return textured and crisp


class PairSource:
    """Real blurry and sharp photographs of the same moment."""

    def __init__(self, pairs: list[tuple[Tensor, Tensor, str]]) -> None:
        self.pairs = pairs

    def crops(self, generator: torch.Generator, count: int, *, size_px: int, device: torch.device) -> list[Crop]:
        """Cut `count` pairs of crops."""
        out = []
        for _ in range(count):
            blurry, sharp, name = self.pairs[int(torch.randint(len(self.pairs), (), generator=generator))]
            top, left = _random_corner(generator, sharp.shape[-2:], size_px)
            window = (slice(None), slice(top, top + size_px), slice(left, left + size_px))
            out.append((blurry[window].to(device).float() / 255, sharp[window].to(device).float() / 255, name))
        return out


class VideoSource:
    """Consecutive frames of a high-speed video, averaged as GoPro's pairs are."""

    def __init__(self, frames: Tensor, name: str, config: blur.BlurConfig) -> None:
        self.frames = frames
        self.name = name
        self.config = config

    def crops(self, generator: torch.Generator, count: int, *, size_px: int, device: torch.device) -> list[Crop]:
        """Average `count` runs of frames, each in a crop; the middle frame is the target."""
        out = []
        for _ in range(count):
            n = self.config.frames[int(torch.randint(len(self.config.frames), (), generator=generator))]
            first = int(torch.randint(len(self.frames) - n + 1, (), generator=generator))
            top, left = _random_corner(generator, self.frames.shape[-2:], size_px)
            clip = self.frames[first : first + n, :, top : top + size_px, left : left + size_px].to(device) / 255
            linear = float(torch.rand((), generator=generator)) < self.config.linear_light
            out.append((*average_clip(clip, linear=linear), f"{self.name}#{first}"))
        return out


Source = PhotoSource | PairSource | VideoSource


def average_clip(clip: Tensor, *, linear: bool) -> tuple[Tensor, Tensor]:
    """Return the mean of (T, 3, H, W) frames in [0, 1], T odd, in linear light or as they are, and the middle one."""
    gamma = blur.GAMMA if linear else 1.0
    return (clip**gamma).mean(0) ** (1 / gamma), clip[len(clip) // 2]


def _random_corner(generator: torch.Generator, shape: torch.Size, side: int) -> tuple[int, int]:
    height, width = shape
    top = int(torch.randint(height - side + 1, (), generator=generator))
    return top, int(torch.randint(width - side + 1, (), generator=generator))


def load_photos(folder: Path, *, held_out: bool = False, smallest_px: int = 1) -> list[Photo]:
    """Read the photographs below `folder`, or with `held_out` those kept for validation.

    Raises DataError for an empty folder, for files that cannot be read (all are named) and for photos smaller than
    `smallest_px` on a side.
    """
    paths = [p for i, p in enumerate(image.find(folder)) if (i % HELD_OUT_EVERY == 0) == held_out]
    if not paths:
        raise DataError(f"{folder} holds no photographs; give a folder with at least {HELD_OUT_EVERY} of them.")
    pixels = _read_all(paths)
    small = [str(path) for path, x in zip(paths, pixels, strict=True) if min(x.shape[-2:]) < smallest_px]
    if small:
        raise DataError(
            f"Smaller than {smallest_px} px on a side: {', '.join(small)}; remove them or train on smaller patches."
        )
    return [Photo.of(path.name, x) for path, x in zip(paths, pixels, strict=True)]


def find_pairs(folder: Path, *, blurry: str = "blur") -> list[tuple[Path, Path]]:
    """List (blurry, sharp) files: every folder at or below `folder` that holds `blurry`/ and sharp/ gives its pairs.

    GoPro's own tree has two kinds of blurry images: `blur` averages the frames' sRGB values, `blur_gamma` averages
    in linear light, as a camera does. Raises DataError for folders without pairs and for names without a partner.
    """
    roots = [p.parent for p in sorted(folder.rglob("sharp")) if p.is_dir() and (p.parent / blurry).is_dir()]
    if not roots:
        raise DataError(
            f"{folder} holds no pairs; it needs the folders {blurry}/ and sharp/ with images of the same names."
        )
    found = []
    for root in roots:
        left = {p.relative_to(root / blurry): p for p in image.find(root / blurry)}
        right = {p.relative_to(root / "sharp"): p for p in image.find(root / "sharp")}
        lonely = sorted(str(root / name) for name in left.keys() ^ right.keys())
        if lonely:
            raise DataError(f"Without a partner in {blurry}/ or sharp/: {', '.join(lonely)}; add or remove them.")
        found += [(left[name], right[name]) for name in sorted(left)]
    if not found:
        raise DataError(f"The folders {blurry}/ and sharp/ of {folder} are empty; put images of the same names there.")
    return found


def load_pairs(folder: Path, *, blurry: str = "blur", smallest_px: int = 1) -> list[tuple[Tensor, Tensor, str]]:
    """Read all pairs that `find_pairs` lists, as (3, H, W) uint8 tensors with the sharp file's name.

    Raises DataError for unreadable files, unequal sizes and images smaller than `smallest_px`, each time naming all.
    """
    files = find_pairs(folder, blurry=blurry)
    left, right = _read_all([b for b, _ in files]), _read_all([s for _, s in files])
    pairs = [(b, s, sharp.name) for b, s, (_, sharp) in zip(left, right, files, strict=True)]
    unequal = [name for b, s, name in pairs if b.shape != s.shape]
    if unequal:
        raise DataError(f"Blurry and sharp differ in size: {', '.join(unequal)}; both must show the same pixels.")
    small = [name for _, s, name in pairs if min(s.shape[-2:]) < smallest_px]
    if small:
        raise DataError(
            f"Smaller than {smallest_px} px on a side: {', '.join(small)}; remove them or train on smaller patches."
        )
    return pairs


def load_video(path: Path) -> Tensor:
    """Return all frames of a video as (T, 3, H, W) uint8. Raises DataError if it cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            frames = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a video ({error}); give a file that ffmpeg can decode.") from error
    if not frames:
        raise DataError(f"{path} holds no video frames; give a clip with at least 13.")
    return torch.stack(frames).permute(0, 3, 1, 2)


def _read_all(paths: list[Path]) -> list[Tensor]:
    def read(path: Path) -> Tensor | str:
        try:
            return torch.from_numpy(np.ascontiguousarray(image.read_rgb8(path).transpose(2, 0, 1)))
        except GolfError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(read, paths))
    broken = [r for r in results if isinstance(r, str)]
    if broken:
        raise DataError(" ".join(broken))
    return [r for r in results if not isinstance(r, str)]


@dataclass(frozen=True)
class MixtureConfig:
    """How patches are cut from the sources."""

    batch: int = 8
    patch_px: int = 192
    identity: float = 0.06
    """Share of block pairs whose blurry image is replaced by the sharp one, so that sharp stays sharp."""
    block_pairs: int = 24
    block_px: int = 256
    steps_per_block: int = 40
    blocks_kept: int = 24
    """Patches are cut from this many blocks at once; a few would make consecutive batches alike."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patch_px > self.block_px:
            raise DataError(
                f"patch_px {self.patch_px} is larger than block_px {self.block_px}; make the block at least as large."
            )


@dataclass(frozen=True)
class Batch:
    """Blurry and sharp patches, (B, 3, P, P) float32 in [0, 1], and the names of the files they were cut from.

    Blocks hold the same as uint8, which is what a camera writes and a quarter of the memory.
    """

    blurry: Tensor
    sharp: Tensor
    names: list[str]


class Mixture:
    """Batches from weighted sources; `batch(step)` depends on the seed and the step alone."""

    def __init__(self, sources: list[tuple[Source, float]], config: MixtureConfig, device: torch.device) -> None:
        self.sources = [source for source, _ in sources]
        self.weights = torch.tensor([weight for _, weight in sources])
        self.config = config
        self.device = device
        self.seconds_waited = 0.0
        self._blocks: dict[int, Batch] = {}

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Yield the batches of `first_step`, `first_step` + 1, ... without end."""
        step = first_step
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> Batch:
        """Cut the patches of one step, each flipped and turned at random."""
        started = time.perf_counter()
        config = self.config
        newest = step // config.steps_per_block
        numbers = range(max(0, newest - config.blocks_kept + 1), newest + 1)
        # Made in this thread: a second one that computes would only take the cores from the step (docs/log.md).
        blocks = [self._kept(n) for n in numbers]
        for old in [n for n in self._blocks if n < numbers[0]]:
            del self._blocks[old]
        generator = _generator(config.seed, 1, step)
        cuts = [_cut_patch(blocks, generator, config.patch_px) for _ in range(config.batch)]
        blurry = torch.stack([blurry for blurry, _, _ in cuts]).float() / 255
        sharp = torch.stack([sharp for _, sharp, _ in cuts]).float() / 255
        batch = Batch(blurry, sharp, [name for _, _, name in cuts])
        self.seconds_waited += time.perf_counter() - started
        return batch

    def _kept(self, number: int) -> Batch:
        if number not in self._blocks:
            self._blocks[number] = self.block(number)
        return self._blocks[number]

    @torch.no_grad()
    def block(self, number: int) -> Batch:
        """Make the pairs of block `number`, (block_pairs, 3, block_px, block_px)."""
        config = self.config
        generator = _generator(config.seed, 0, number)
        chosen = torch.multinomial(self.weights, config.block_pairs, replacement=True, generator=generator)
        crops: list[Crop] = []
        for index, source in enumerate(self.sources):
            count = int((chosen == index).sum())
            crops += source.crops(generator, count, size_px=config.block_px, device=self.device)
        identical = torch.rand(len(crops), generator=generator) < config.identity
        blurry = torch.stack([s if same else b for (b, s, _), same in zip(crops, identical, strict=True)])
        sharp = torch.stack([s for _, s, _ in crops])
        return Batch((255 * blurry).round().byte(), (255 * sharp).round().byte(), [name for _, _, name in crops])


def _generator(*numbers: int) -> torch.Generator:
    """Return a generator whose stream is a function of the numbers."""
    seed = functools.reduce(
        lambda state, n: (state * 6364136223846793005 + n + 1442695040888963407) % 2**63, numbers, 0
    )
    return torch.Generator().manual_seed(seed)


def _cut_patch(blocks: list[Batch], generator: torch.Generator, side: int) -> Crop:
    block = blocks[int(torch.randint(len(blocks), (), generator=generator))]
    index = int(torch.randint(len(block.names), (), generator=generator))
    top, left = _random_corner(generator, block.sharp.shape[-2:], side)
    turn = int(torch.randint(8, (), generator=generator))
    pair = torch.stack([block.blurry[index], block.sharp[index]])[..., top : top + side, left : left + side]
    pair = torch.rot90(pair.flip(-1) if turn >= 4 else pair, turn % 4, (-2, -1))
    return pair[0], pair[1], block.names[index]


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


def validation_pairs(
    photos: list[Photo], config: blur.BlurConfig, *, size_px: int = 256
) -> list[tuple[Tensor, Tensor, str]]:
    """Blur one crop of each held-out photo, always in the same way (seed 0), without JPEG or extra noise."""
    config = dataclasses.replace(config, jpeg=0.0, noisy=0.0, linear_light=0.0)
    generator = _generator(0, 2, 0)
    crops = PhotoSource(photos, config).crops(generator, 2 * len(photos), size_px=size_px, device=torch.device("cpu"))
    return [((255 * b).round().byte(), (255 * s).round().byte(), name) for b, s, name in crops]
