"""Training batches from several sources of pairs, mixed by weight.

A `Mixture` cuts training batches in two stages, both functions of (seed, number) alone, so that a resumed run sees
what an unbroken one would have seen. Every `steps_per_block` steps a *block* of larger pairs is made from all
sources (this is where blur is synthesised); every step cuts its patches from the last few blocks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from golfdeblur import machine
from golfdeblur.errors import ConfigError, DataError
from golfdeblur.learning.sources import Crop, Source, random_corner, seeded_generator

Cut = list[Any]
"""What each source has cut for a block, None where that is nothing: the argument of its own `make`."""


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
    quarter_turns: bool = True
    """Whether patches are turned as well as flipped; the paper's are flipped alone."""
    streams: int = 1
    """Independent streams of blocks, each giving batch / streams patches. Every process makes its own streams only,
    so their number, which is part of the recipe, decides what is seen, and the number of processes does not."""

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

    @property
    def fresh(self) -> bool:
        """Whether every step has a block of its own, of which it shows each pair once: no crop is seen twice."""
        return self.steps_per_block == self.blocks_kept == 1 and self.block_pairs == self.batch


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
        seed: int = 0,
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
        self.seed = seed
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
            generator = seeded_generator(self.seed, 1, step, stream)
            cuts += [_cut_patch(blocks, generator, config, i) for i in range(config.batch // config.streams)]
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
        generator = seeded_generator(self.seed, 5, number, stream)
        crops: list[Crop] = []
        for source, chosen in zip(self.sources, cut, strict=True):
            crops += source.make(chosen, generator, self.device) if chosen else []
        identical = torch.rand(len(crops), generator=generator) < config.identity
        blurry = torch.stack([s if same else b for (b, s, _), same in zip(crops, identical, strict=True)])
        sharp = torch.stack([s for _, s, _ in crops])
        return Batch((255 * blurry).round().byte(), (255 * sharp).round().byte(), [name for _, _, name in crops])

    def cut(self, number: int, stream: int) -> Cut:
        """Let every source cut its share of a block."""
        generator = seeded_generator(self.seed, 0, number, stream)
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
                _Cuts(Mixture(sources, self.config, torch.device("cpu"), seed=self.seed)),
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

    A core cuts hundreds of pairs a second, and on the CPU the step would miss it (research/).
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


def _cut_patch(blocks: list[Batch], generator: torch.Generator, config: MixtureConfig, number: int) -> Crop:
    """Cut a patch from a pair of any block, or from pair `number` of the only one if the mixture is fresh."""
    side = config.patch_px
    block = blocks[int(torch.randint(len(blocks), (), generator=generator))]
    index = number if config.fresh else int(torch.randint(len(block.names), (), generator=generator))
    top, left = random_corner(generator, block.sharp.shape[-2:], side)
    turn = int(torch.randint(8, (), generator=generator)) & (0b111 if config.quarter_turns else 0b110)
    pair = torch.stack([block.blurry[index], block.sharp[index]])[..., top : top + side, left : left + side]
    pair = torch.rot90(pair.flip(-1) if turn >= 4 else pair, turn % 4, (-2, -1))
    return pair[0], pair[1], block.names[index]
