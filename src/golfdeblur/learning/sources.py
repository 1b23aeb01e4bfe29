"""What pairs are made from: sharp photographs with synthetic blur, real pairs, and high-speed video.

A source makes pairs in two stages. It *cuts*: it chooses what the pairs show, photo by photo, which is work for a CPU.
From what it has cut it *makes* the pairs, all at once, which is work for the device that trains.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.errors import ConfigError
from golfdeblur.learning import blur, data
from golfdeblur.learning.data import Photo

Crop = tuple[Tensor, Tensor, str]
"""Blurry and sharp, (3, S, S) uint8 or float, and the name of the file they come from."""


TONE_GAMMA = 0.35
"""Largest |logarithm| of the gamma that changes a crop's contrast."""

TONE_LOSS = 0.3
"""Most that a change of tone takes from a crop's brightness; gains stay below 1, so that nothing is clipped."""

KINDS = {
    "photos": "sharp photographs, blurred synthetically",
    "sharp-of-pairs": "the sharp side of a pair folder, blurred synthetically",
    "pairs": "real pairs, as GoPro, REDS or any folder with blur/ and sharp/ has them",
    "video": "high-speed video, whose frames are averaged",
}


@dataclass(frozen=True)
class SourceConfig:
    """One source of pairs: its name (given a path by `--data NAME=PATH`), kind and weight."""

    name: str
    kind: str
    weight: float = 1.0
    blurry: str = "blur"
    """The folder of blurry images in a pair folder: GoPro has `blur` (sRGB average) and `blur_gamma` (linear)."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind is '{self.kind}'; use one of {', '.join(KINDS)}.")
        if self.weight <= 0:
            raise ConfigError(f"weight of source '{self.name}' is {self.weight}; it must be above 0.")


class PhotoSource:
    """Sharp photographs, blurred synthetically."""

    def __init__(self, photos: list[Photo], config: blur.BlurConfig) -> None:
        self.photos = photos
        self.config = config

    def cut(self, generator: torch.Generator, count: int, size_px: int) -> tuple[Tensor, Tensor, list[str]]:
        """Choose `count` crops, (count, 3, S, S) uint8, and their tones, (count, 4), as `_toned` takes them."""
        side = size_px + 2 * self.config.margin_px
        chosen = [self._cut_one(generator, side) for _ in range(count)]
        tones = torch.stack([_tone(generator, self.config.toned) for _ in chosen])
        return torch.stack([pixels for pixels, _ in chosen]), tones, [name for _, name in chosen]

    def make(
        self, cut: tuple[Tensor, Tensor, list[str]], generator: torch.Generator, device: torch.device
    ) -> list[Crop]:
        """Blur what `cut` chose, on `device`."""
        pixels, tones, names = cut
        size_px = pixels.shape[-1] - 2 * self.config.margin_px
        source = _toned(pixels.to(device).float() / 255, tones)
        return list(zip(*blur.random_pairs(source, generator, self.config, size_px=size_px), names, strict=True))

    def crops(self, generator: torch.Generator, count: int, *, size_px: int, device: torch.device) -> list[Crop]:
        """Make `count` pairs of crops."""
        return self.make(self.cut(generator, count, size_px), generator, device)

    def _cut_one(self, generator: torch.Generator, side: int) -> tuple[Tensor, str]:
        """Cut a uint8 crop, most often one with texture that is in focus: a soft target teaches not to sharpen."""
        any_will_do = torch.rand((), generator=generator) < 0.08
        wished = round(side * _reduction(generator, self.config.reduction))
        for attempt in range(8):
            photo = self.photos[int(torch.randint(len(self.photos), (), generator=generator))]
            taken = min(wished, *photo.pixels.shape[-2:])
            top, left = random_corner(generator, photo.pixels.shape[-2:], taken)
            if any_will_do or attempt == 7 or _in_focus(photo, top, left, taken):
                break
        crop = photo.pixels[:, top : top + taken, left : left + taken]
        if taken > side:
            smaller = nf.interpolate(crop[None].float(), (side, side), mode="bicubic", antialias=True)[0]
            crop = smaller.round().clamp(0, 255).byte()
        return crop, photo.name


def _reduction(generator: torch.Generator, most: float) -> float:
    """Draw how many times smaller a crop is made: 1 for half of them, the others log-uniformly up to `most`."""
    if most == 1:
        return 1.0
    draw, half = torch.rand(2, generator=generator).tolist()
    return most**draw if half < 0.5 else 1.0


def _tone(generator: torch.Generator, share: float) -> Tensor:
    """Draw a crop's tone, a gamma and for each colour a gain up to 1: all of them 1 but for a `share` of the crops."""
    if share == 0 or float(torch.rand((), generator=generator)) >= share:
        return torch.ones(4)
    exponent = torch.exp(TONE_GAMMA * (2 * torch.rand(1, generator=generator) - 1))
    light = 1 - TONE_LOSS * torch.rand((), generator=generator)
    colour = 1 - TONE_LOSS / 2 * torch.rand(3, generator=generator)
    return torch.cat([exponent, light * colour])


def _toned(crops: Tensor, tones: Tensor) -> Tensor:
    """Change the tone of `crops`, (B, 3, S, S) in [0, 1], in place, where there is one to change."""
    changed = torch.nonzero((tones != 1).any(1))[:, 0].to(crops.device)
    tones = tones.to(crops.device)[changed, :, None, None]
    crops[changed] = crops[changed] ** tones[:, :1] * tones[:, 1:]
    return crops


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

    def cut(self, generator: torch.Generator, count: int, size_px: int) -> list[Crop]:
        """Cut `count` pairs of crops, uint8."""
        out = []
        for _ in range(count):
            blurry, sharp, name = self.pairs[int(torch.randint(len(self.pairs), (), generator=generator))]
            top, left = random_corner(generator, sharp.shape[-2:], size_px)
            window = (slice(None), slice(top, top + size_px), slice(left, left + size_px))
            # Copies: to another process a view would take its whole image along.
            out.append((blurry[window].clone(), sharp[window].clone(), name))
        return out

    def make(self, cut: list[Crop], generator: torch.Generator, device: torch.device) -> list[Crop]:
        """Bring what was cut to `device`."""
        return [(blurry.to(device).float() / 255, sharp.to(device).float() / 255, name) for blurry, sharp, name in cut]


class VideoSource:
    """Consecutive frames of a high-speed video, averaged as GoPro's pairs are."""

    def __init__(self, frames: Tensor, name: str, config: blur.BlurConfig) -> None:
        self.frames = frames
        self.name = name
        self.config = config

    def cut(self, generator: torch.Generator, count: int, size_px: int) -> list[tuple[Tensor, bool, str]]:
        """Cut `count` runs of frames, (T, 3, size_px, size_px) uint8, and draw whether to average in linear light."""
        out = []
        for _ in range(count):
            n = self.config.frames[int(torch.randint(len(self.config.frames), (), generator=generator))]
            first = int(torch.randint(len(self.frames) - n + 1, (), generator=generator))
            top, left = random_corner(generator, self.frames.shape[-2:], size_px)
            clip = self.frames[first : first + n, :, top : top + size_px, left : left + size_px].clone()
            linear = float(torch.rand((), generator=generator)) < self.config.linear_light
            out.append((clip, linear, f"{self.name}#{first}"))
        return out

    def make(self, cut: list[tuple[Tensor, bool, str]], generator: torch.Generator, device: torch.device) -> list[Crop]:
        """Average every run on `device`; its middle frame is the target."""
        return [(*average_clip(clip.to(device) / 255, linear=linear), name) for clip, linear, name in cut]


Source = PhotoSource | PairSource | VideoSource


def load_sources(
    recipe: tuple[SourceConfig, ...], paths: dict[str, Path], config: blur.BlurConfig, *, block_px: int
) -> list[tuple[Source, float]]:
    """Read every source of a recipe from its file or folder, for a `mixture.Mixture`; `paths` by name.

    Raises ConfigError where the names do not match the recipe's, DataError for unusable data.
    """
    if not recipe:
        raise ConfigError("The recipe names no data; add one [[sources]] or more, with a name and a kind each.")
    wanted = {source.name for source in recipe}
    if missing := sorted(wanted - paths.keys()):
        raise ConfigError(f"The recipe needs data for {', '.join(missing)}; give --data NAME=PATH for each.")
    if unknown := sorted(paths.keys() - wanted):
        raise ConfigError(f"--data {', '.join(unknown)} is not in the recipe; it has {', '.join(sorted(wanted))}.")
    return [(_load(source, paths[source.name], config, block_px), source.weight) for source in recipe]


def _load(source: SourceConfig, path: Path, config: blur.BlurConfig, block_px: int) -> Source:
    smallest = smallest_photo_px(config, block_px)
    if source.kind == "photos":
        return PhotoSource(data.load_photos(path, smallest_px=smallest), config)
    if source.kind == "video":
        frames = data.load_video(path, fewest=max(config.frames), smallest_px=block_px)
        return VideoSource(frames, source.name, config)
    needed = block_px if source.kind == "pairs" else smallest
    pairs = data.load_pairs(path, blurry=source.blurry, smallest_px=needed)
    if source.kind == "pairs":
        return PairSource(pairs)
    return PhotoSource([data.Photo.of(name, sharp) for _, sharp, name in pairs], config)


def smallest_photo_px(config: blur.BlurConfig, block_px: int) -> int:
    """Return the side that a photograph must have for a block's crop and the margin that blur takes."""
    return block_px + 2 * config.margin_px


def average_clip(clip: Tensor, *, linear: bool) -> tuple[Tensor, Tensor]:
    """Return the mean of (T, 3, H, W) frames in [0, 1], T odd, in linear light or as they are, and the middle one."""
    gamma = blur.GAMMA if linear else 1.0
    return (clip**gamma).mean(0) ** (1 / gamma), clip[len(clip) // 2]


def random_corner(generator: torch.Generator, shape: torch.Size, side: int) -> tuple[int, int]:
    """Draw the top and left of a square of `side` pixels inside an image."""
    height, width = shape
    top = int(torch.randint(height - side + 1, (), generator=generator))
    return top, int(torch.randint(width - side + 1, (), generator=generator))


def seeded_generator(*numbers: int) -> torch.Generator:
    """Return a generator whose stream is a function of the numbers."""
    seed = functools.reduce(
        lambda state, n: (state * 6364136223846793005 + n + 1442695040888963407) % 2**63, numbers, 0
    )
    return torch.Generator().manual_seed(seed)


def validation_pairs(
    photos: list[Photo], config: blur.BlurConfig, *, size_px: int = 256
) -> list[tuple[Tensor, Tensor, str]]:
    """Blur one crop of each held-out photo, always in the same way (seed 0), without JPEG or extra noise."""
    config = dataclasses.replace(
        config, jpeg=0.0, noisy=0.0, linear_light=0.0, reduction=1.0, toned=0.0, shaken=0.0, defocused=0.0
    )
    generator = seeded_generator(0, 2, 0)
    crops = PhotoSource(photos, config).crops(generator, 2 * len(photos), size_px=size_px, device=torch.device("cpu"))
    return [((255 * b).round().byte(), (255 * s).round().byte(), name) for b, s, name in crops]
