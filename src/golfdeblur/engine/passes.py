"""The three ways of a picture through F and the corrections: whole frames, strips, and tiles that fade."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from golfdeblur import bands
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.deconvolution.uniformity import Explanation
from golfdeblur.engine import scales, tiles
from golfdeblur.engine.budget import COARSE_BYTES_PER_PX, FADED_OVERLAP_PX, Need, Plan
from golfdeblur.engine.deconvolving import Deconvolution, Deconvolver, StrokeNetworks
from golfdeblur.engine.faded import faded
from golfdeblur.engine.runner import Runner
from golfdeblur.engine.strips import in_strips
from golfdeblur.errors import ConfigError
from golfdeblur.files.picture import Picture
from golfdeblur.golf import Stroke, strokes, total_change


@dataclass(frozen=True)
class Restored:
    """A picture after the last stroke."""

    picture: Picture
    changes: list[float]
    """The mean change of every stroke, in units of the pixel range [0, 1]."""
    settled: bool
    """The last stroke changed next to nothing, and no more were made."""
    kernel: Kernel | None = None
    """What the last stroke deconvolved with, if it did."""
    explanation: Explanation | None = None
    """What was read from the picture before the first stroke, if it was."""

    def blended(self, before: Picture, strength: float) -> Restored:
        """Return the same with `strength` of the picture, the rest from `before`; 1 is all of it."""
        return replace(self, picture=before.towards(self.picture, strength))


def check_strength(strength: float) -> None:
    """Raise ConfigError for a strength that is no number from 0 to 1."""
    if not 0 <= strength <= 1:
        raise ConfigError(f"A strength of {strength} is asked for; 0 (the input) to 1 (the result) are allowed.")


@dataclass(frozen=True)
class Stages:
    """F and `steps` times G (None in a model without it)."""

    f: Runner
    g: Runner | None
    steps: int

    @property
    def each(self) -> list[Runner]:
        """The networks to apply one after another."""
        return [self.f, *([self.g] * self.steps if self.g else [])]

    def need(self, picture: Picture, held_bytes: int = 0) -> Need:
        """Return what decides how much memory `picture` takes, where `held_bytes` are held beside it."""
        width, height = picture.size
        overlaps = [stage.overlap_px for stage in self.each if stage.overlap_px is not None]
        networks = [stage.bytes_per_px for stage in (self.f, self.g) if stage]
        coarse_bytes = COARSE_BYTES_PER_PX * width * height if self.f.scales > 1 else 0
        return Need(
            width,
            height,
            stored_bytes=held_bytes + 2 * picture.colour.nbytes + coarse_bytes,
            stages=len(self.each),
            overlap_px=max(overlaps) if len(overlaps) == len(self.each) else 0,
            bytes_per_px=max(networks) if self.f.session.in_turns else sum(networks),
        )

    def shrink(self, px: int = 0) -> None:
        """Give back the memory that larger tiles than `px` pixels took."""
        for runner in (self.f, self.g):
            if runner is not None:
                runner.session.shrink(px)


def restore(picture: Picture, stages: Stages, plan: Plan, *, stop_below: float) -> Restored:
    """Return `picture` after the last stroke, worked on as `plan` says."""
    stages.shrink(plan.tile_px)
    if plan.is_whole:
        changes = []
        for stroke in whole_frames(picture, stages, plan, stop_below=stop_below):
            changes.append(stroke.change)
        return Restored(picture.repainted([stroke.pixels]), changes, stroke.settled)
    restored = (_strips if plan.strip_rows is not None else _faded_tiles)(picture, stages, plan)
    stages.shrink()  # the encoder will need it
    return restored


def restore_each(picture: Picture, stages: Stages, plan: Plan, *, stop_below: float) -> Iterator[Restored]:
    """Yield `picture` after every stroke; `plan` has whole frames."""
    changes = []
    for stroke in whole_frames(picture, stages, plan, stop_below=stop_below):
        changes.append(stroke.change)
        yield Restored(picture.repainted([stroke.pixels]), changes.copy(), stroke.settled)


def deconvolve_each(
    picture: Picture,
    stages: Stages,
    plan: Plan,
    asked: Deconvolution,
    networks: StrokeNetworks,
    *,
    stop_below: float,
) -> Iterator[Restored]:
    """Yield `picture` after F and after every stroke that deconvolves. Raises ConfigError where no whole frame fits."""
    f, deconvolver = _deconvolver(picture, stages, plan, asked, networks)
    changes: list[float] = []
    last: Restored | None = None
    for stroke in strokes(f, deconvolver, deconvolver.y, steps=stages.steps, stop_below=stop_below):
        if last is not None:
            yield replace(last, explanation=deconvolver.explanation)
        changes.append(stroke.change)
        made = picture.repainted([stroke.pixels])
        last = Restored(made, changes.copy(), stroke.settled, deconvolver.kernel if stroke.index else None)
    assert last is not None
    yield replace(last, explanation=deconvolver.explanation)  # which x_0 alone did not have yet


def explain(
    picture: Picture, stages: Stages, plan: Plan, asked: Deconvolution, networks: StrokeNetworks
) -> Explanation:
    """Return what is read from `picture`. Raises ConfigError where no whole frame fits."""
    f, deconvolver = _deconvolver(picture, stages, plan, asked, networks)
    return deconvolver.explained(f(deconvolver.y))


def _deconvolver(
    picture: Picture, stages: Stages, plan: Plan, asked: Deconvolution, networks: StrokeNetworks
) -> tuple[Callable[[np.ndarray], np.ndarray], Deconvolver]:
    if not plan.is_whole:
        raise ConfigError("This picture is too large to be deconvolved in this memory; give more --max-memory.")
    width, height = picture.size
    y = np.empty((1, 3, height, width), np.float32)
    for top, bottom in bands.cut(height, width):
        picture.rows(top, bottom, out=y[:, :, top:bottom])

    def f(x: np.ndarray) -> np.ndarray:
        return stages.f(x, tile_px=plan.tile_px)

    return f, Deconvolver(y, f, asked, networks)


def whole_frames(picture: Picture, stages: Stages, plan: Plan, *, stop_below: float) -> Iterator[Stroke]:
    """Yield the strokes on `picture`; the pixels of one are overwritten by the next but one."""
    width, height = picture.size
    frames = np.empty((2, 1, 3, height, width), np.float32)
    turns = itertools.cycle((frames[1], frames[0]))

    def in_turn(runner: Runner) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: runner(x, tile_px=plan.tile_px, out=next(turns))

    y = frames[0]
    for top, bottom in bands.cut(height, width):
        picture.rows(top, bottom, out=y[:, :, top:bottom])
    g = None if stages.g is None else in_turn(stages.g)
    return strokes(in_turn(stages.f), g, y, steps=stages.steps, stop_below=stop_below)


def _strips(picture: Picture, stages: Stages, plan: Plan) -> Restored:
    width, height = picture.size
    rows, each, f = plan.strip_rows or height, stages.each, stages.f
    sums = [0.0] * len(each)
    coarse = None
    if f.scales > 1:
        half = scales.halved(picture.rows, picture.size, multiple=f.multiple_px)
        coarse = f.coarse_of(half, tile_px=plan.tile_px)
    blocks: Iterator[np.ndarray] = (picture.rows(top, min(top + rows, height)) for top in range(0, height, rows))

    def through(index: int, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        stage, overlap = each[index], each[index].overlap_px
        assert overlap is not None  # the plan has strips
        how = {"size": rows + 2 * overlap, "overlap": overlap, "multiple": stage.multiple_px}
        tops = (span.read[0] for span in tiles.spans(height, **how))

        def network(x: np.ndarray) -> np.ndarray:
            own = None if index or coarse is None else coarse[:, :, next(tops) // 2 :]
            return stage(x, tile_px=plan.tile_px, coarse=own)

        for given, made in in_strips(network, blocks, height, **how):
            sums[index] += total_change(made, given)
            yield made

    for index in range(len(each)):
        blocks = through(index, blocks)
    made = picture.repainted(blocks)
    return Restored(made, [total / (3 * height * width) for total in sums], settled=False)


def _faded_tiles(picture: Picture, stages: Stages, plan: Plan) -> Restored:
    sums, values = [0.0] * len(stages.each), 0

    def all_strokes(x: np.ndarray) -> np.ndarray:
        nonlocal values
        values += x.size
        for index, stage in enumerate(stages.each):
            made = stage(x, tile_px=plan.tile_px)
            sums[index] += total_change(made, x)
            x = made
        return x

    assert plan.faded_px is not None
    blocks = faded(all_strokes, picture.rows, picture.size, side=plan.faded_px, overlap=FADED_OVERLAP_PX)
    made = picture.repainted(blocks)
    return Restored(made, [total / values for total in sums], settled=False)
