"""Training batches from photographs with synthetic blur, real pairs and high-speed video, mixed by weight.

A `Mixture` cuts training batches in two stages, both functions of (seed, number) alone, so that a resumed run sees
what an unbroken one would have seen. Every `steps_per_block` steps a *block* of larger pairs is made from all
sources (this is where blur is synthesised); every step cuts its patches from the last few blocks.

A source makes pairs in two stages too. It *cuts*: it chooses what the pairs show, photo by photo, which is work for a
CPU. From what it has cut it *makes* the pairs, all at once, which is work for the device that trains.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nf
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from golfdeblur import machine
from golfdeblur.errors import ConfigError, DataError
from golfdeblur.learning import blur
from golfdeblur.learning.data import Photo

Crop = tuple[Tensor, Tensor, str]
"""Blurry and sharp, (3, S, S) uint8 or float, and the name of the file they come from."""


TONE_GAMMA = 0.35
"""Largest |logarithm| of the gamma that changes a crop's contrast."""

TONE_LOSS = 0.3
"""Most that a change of tone takes from a crop's brightness; gains stay below 1, so that nothing is clipped."""


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
            top, left = _random_corner(generator, photo.pixels.shape[-2:], taken)
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
            top, left = _random_corner(generator, sharp.shape[-2:], size_px)
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
            top, left = _random_corner(generator, self.frames.shape[-2:], size_px)
            clip = self.frames[first : first + n, :, top : top + size_px, left : left + size_px].clone()
            linear = float(torch.rand((), generator=generator)) < self.config.linear_light
            out.append((clip, linear, f"{self.name}#{first}"))
        return out

    def make(self, cut: list[tuple[Tensor, bool, str]], generator: torch.Generator, device: torch.device) -> list[Crop]:
        """Average every run on `device`; its middle frame is the target."""
        return [(*average_clip(clip.to(device) / 255, linear=linear), name) for clip, linear, name in cut]


Source = PhotoSource | PairSource | VideoSource

Cut = list[Any]
"""What each source has cut for a block, None where that is nothing: the argument of its own `make`."""


def average_clip(clip: Tensor, *, linear: bool) -> tuple[Tensor, Tensor]:
    """Return the mean of (T, 3, H, W) frames in [0, 1], T odd, in linear light or as they are, and the middle one."""
    gamma = blur.GAMMA if linear else 1.0
    return (clip**gamma).mean(0) ** (1 / gamma), clip[len(clip) // 2]


def _random_corner(generator: torch.Generator, shape: torch.Size, side: int) -> tuple[int, int]:
    height, width = shape
    top = int(torch.randint(height - side + 1, (), generator=generator))
    return top, int(torch.randint(width - side + 1, (), generator=generator))


@dataclass(frozen=True)
class MixtureConfig:
    """How patches are cut from the sources."""

    batch: int = 8
    """Patches of a step, over all processes together."""
    patch_px: int = 192
    identity: float = 0.06
    """Share of block pairs whose blurry image is replaced by the sharp one, so that sharp stays sharp."""
    block_pairs: int = 24
    block_px: int = 256
    steps_per_block: int = 80
    blocks_kept: int = 16
    """Patches are cut from this many blocks at once; a few would make consecutive batches alike."""
    streams: int = 1
    """Independent streams of blocks, each giving batch / streams patches. Every process makes its own streams only,
    so their number, which is part of the recipe, decides what is seen, and the number of processes does not."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "patch_px", "block_pairs", "steps_per_block", "blocks_kept", "streams"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 <= self.identity <= 1:
            raise ConfigError(f"identity is {self.identity}; it is a share and must lie in [0, 1].")
        if self.patch_px > self.block_px:
            raise DataError(
                f"patch_px {self.patch_px} is larger than block_px {self.block_px}; make the block at least as large."
            )
        if self.batch % self.streams or self.block_pairs % self.streams:
            raise ConfigError(
                f"streams {self.streams} must divide batch {self.batch} and block_pairs {self.block_pairs}."
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
    """Batches from weighted sources; `batch(step)` depends on the seed and the step alone.

    Of several processes, each makes its own `part` = (index, number) of every batch. With `workers` above 0 so many
    further processes cut what the blocks show ahead of time: for a GPU, which would wait for it. Raises ConfigError if
    the streams cannot be shared out equally.
    """

    def __init__(
        self,
        sources: list[tuple[Source, float]],
        config: MixtureConfig,
        device: torch.device,
        *,
        part: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        index, number = part
        if config.streams % number:
            raise ConfigError(
                f"{number} processes cannot share mixture.streams = {config.streams} equally; "
                f"use a multiple, for example --set mixture.streams={number}."
            )
        self.sources = [source for source, _ in sources]
        self.weights = torch.tensor([weight for _, weight in sources])
        self.config = config
        self.device = device
        self.workers = workers
        self.seconds_waited = 0.0
        share = config.streams // number
        self._streams = range(index * share, (index + 1) * share)
        self._blocks: dict[tuple[int, int], Batch] = {}
        self._ahead: Iterator[tuple[tuple[int, int], Cut]] = iter(())

    def batch(self, step: int) -> Batch:
        """Cut the patches of one step, each flipped and turned at random."""
        started = time.perf_counter()
        config = self.config
        newest = step // config.steps_per_block
        numbers = range(max(0, newest - config.blocks_kept + 1), newest + 1)
        for old in [key for key in self._blocks if key[0] < numbers[0]]:
            del self._blocks[old]
        for key in itertools.product(numbers, self._streams):
            if key not in self._blocks:
                self._blocks[key] = self.block(*key)
        cuts: list[Crop] = []
        for stream in self._streams:
            blocks = [self._blocks[number, stream] for number in numbers]
            generator = seeded_generator(config.seed, 1, step, stream)
            cuts += [_cut_patch(blocks, generator, config.patch_px) for _ in range(config.batch // config.streams)]
        blurry = torch.stack([blurry for blurry, _, _ in cuts]).float() / 255
        sharp = torch.stack([sharp for _, sharp, _ in cuts]).float() / 255
        batch = Batch(blurry, sharp, [name for _, _, name in cuts])
        self.seconds_waited += time.perf_counter() - started
        return batch

    @torch.no_grad()
    def block(self, number: int, stream: int = 0) -> Batch:
        """Make the pairs of block `number` of a stream, (block_pairs / streams, 3, block_px, block_px)."""
        config = self.config
        cut = self._cut_ahead((number, stream)) if self.workers else self.cut(number, stream)
        generator = seeded_generator(config.seed, 5, number, stream)
        crops: list[Crop] = []
        for source, chosen in zip(self.sources, cut, strict=True):
            crops += source.make(chosen, generator, self.device) if chosen else []
        identical = torch.rand(len(crops), generator=generator) < config.identity
        blurry = torch.stack([s if same else b for (b, s, _), same in zip(crops, identical, strict=True)])
        sharp = torch.stack([s for _, s, _ in crops])
        return Batch((255 * blurry).round().byte(), (255 * sharp).round().byte(), [name for _, _, name in crops])

    def cut(self, number: int, stream: int) -> Cut:
        """Let every source cut its share of a block."""
        generator = seeded_generator(self.config.seed, 0, number, stream)
        pairs = self.config.block_pairs // self.config.streams
        drawn = torch.multinomial(self.weights, pairs, replacement=True, generator=generator)
        counts = drawn.bincount(minlength=len(self.sources)).tolist()
        return [
            source.cut(generator, count, self.config.block_px) if count else None
            for source, count in zip(self.sources, counts, strict=True)
        ]

    def _cut_ahead(self, key: tuple[int, int]) -> Cut:
        """Return what `cut` does from the workers, which cut for the blocks that follow meanwhile."""
        found, cut = next(self._ahead, (None, None))
        if found != key or cut is None:  # the first block, or steps that do not follow each other
            sources = list(zip(self.sources, self.weights.tolist(), strict=True))
            loader: DataLoader[tuple[tuple[int, int], Cut]] = DataLoader(
                _Cuts(Mixture(sources, self.config, torch.device("cpu"))),
                batch_size=None,
                sampler=_following(key, self._streams),
                num_workers=self.workers,
                collate_fn=_as_it_is,
            )
            self._ahead = iter(loader)
            _, cut = next(self._ahead)
        return cut


def workers_beside(device: torch.device, processes: int = 1) -> int:
    """Return how many workers each of `processes` takes: up to four beside a GPU, none on the CPU.

    A core cuts hundreds of pairs a second, and on the CPU the step would miss it (docs/log.md).
    """
    if device.type == "cpu":
        return 0
    return min(4, max(1, machine.threads() // processes - 2))


class _Cuts(Dataset[tuple[tuple[int, int], Cut]]):
    """What a mixture cuts for the block (number, stream), for a DataLoader's processes."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def __getitem__(self, key: tuple[int, int]) -> tuple[tuple[int, int], Cut]:
        return key, self.mixture.cut(*key)


def _as_it_is(item: Any) -> Any:
    return item


def _following(first: tuple[int, int], streams: range) -> Iterator[tuple[int, int]]:
    """Yield all (number, stream) from a first one on, in the order in which a run needs them."""
    keys = ((number, stream) for number in itertools.count(first[0]) for stream in streams)
    return itertools.dropwhile(lambda key: key != first, keys)


def seeded_generator(*numbers: int) -> torch.Generator:
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
