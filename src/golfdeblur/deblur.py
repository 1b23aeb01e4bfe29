"""Picture in, picture out: the library's front door, for paths, Pillow images and arrays."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from golfdeblur import DEFAULT_MODEL, bands, image, memory
from golfdeblur.errors import ImageError
from golfdeblur.picture import Picture, from_pil, from_samples, to_pil, turn
from golfdeblur.runtime import Runner, Weights, find_weights
from golfdeblur.strokes import STEPS, STOP_BELOW, Stroke, check_steps, strokes, total_change
from golfdeblur.tiles import halved, run_faded, run_in_strips, spans

if TYPE_CHECKING:
    from PIL import Image

    Kind = TypeVar("Kind", str, Path, Image.Image, np.ndarray, Picture)

UNKNOWN_BYTES_PER_PX = 1000
"""For models whose config.json does not say what a pixel takes: more than any of ours."""


SHARP_BELOW = 0.3
"""The blurriness under which a picture counts as sharp (MODEL_CARD.md)."""

INVERSE_TURN = {6: 8, 8: 6}
"""The EXIF orientation that undoes another; all the rest undo themselves."""

GRADIENT_ROWS = 512


@dataclass(frozen=True)
class Restored:
    """A picture after the last stroke."""

    picture: Picture
    changes: list[float]
    """The mean change of every stroke, in units of the pixel range [0, 1]."""
    settled: bool
    """The last stroke changed next to nothing, and no more were made."""


@dataclass(frozen=True)
class Model:
    """A trained pair of networks, ready to run."""

    weights: Weights
    f: Runner
    g: Runner | None
    """None in a model without a corrector."""
    max_memory: int | None = None
    """Bytes that the process may take; None: half of what is free when a picture comes."""
    _kept: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)
    """The memory of the last picture's frames, or nothing: new memory can cost a large picture a tenth of its time."""

    def deblur(self, picture: Kind, *, steps: int = STEPS, self_ensemble: bool = False) -> Kind:
        """Return the deblurred picture, of the same kind, size and depth as `picture`.

        A path gives a path: the result is written beside the input as NAME-deblurred.SUFFIX, and never over a file
        that is there. An array is (H, W) or (H, W, C), uint8, uint16 or float in [0, 1]; alpha, its last of 2 or 4
        channels, stays as it is. `self_ensemble`: see `run`. Raises ImageError for what is not an image.
        """
        if isinstance(picture, str | Path):
            path = default_output(Path(picture))
            image.check_writable(path, force=False)
            image.write(self.run(image.read(picture), steps=steps, self_ensemble=self_ensemble).picture, path)
            return cast(Any, type(picture))(path)
        source, like = _as_picture(picture)
        return like(self.run(source, steps=steps, self_ensemble=self_ensemble).picture)

    def strokes(self, picture: Kind, *, steps: int = STEPS) -> Iterator[Kind]:
        """Yield x_0, x_1, ..., each of the same kind as `picture`; a path gives Pictures."""
        source, like = (image.read(picture), lambda p: p) if isinstance(picture, str | Path) else _as_picture(picture)
        for restored in self.run_each(source, steps=steps):
            yield like(restored.picture)

    def restore(self, picture: Picture, *, steps: int = STEPS) -> Picture:
        """Return `picture` after the last stroke."""
        return self.run(picture, steps=steps).picture

    def run(
        self, picture: Picture, *, steps: int = STEPS, stop_below: float = STOP_BELOW, self_ensemble: bool = False
    ) -> Restored:
        """Return `picture` after the last stroke, and what the strokes did.

        Where whole frames do not fit into memory, strips of it go through all strokes one after another. The result
        is the same, except that such a picture never settles early. Of a model with instance norm (`paper`) tiles go
        instead, each with statistics of its own: close to the full frame's result, but not equal (docs/performance.md).
        With `self_ensemble` it is the mean over the picture turned and mirrored in all eight ways: eight times the
        work for 0.1 to 0.3 dB (MODEL_CARD.md). Raises ConfigError if the budget is too small.
        """
        if self_ensemble:
            return self._mean_of_turns(picture, steps, stop_below)
        return self._run(picture, steps, stop_below)

    def _run(self, picture: Picture, steps: int, stop_below: float, held_bytes: int = 0) -> Restored:
        stages, plan = self._prepared(picture, steps, held_bytes)
        if plan.strip_rows is None and plan.faded_px is None:
            return self._run_whole(picture, steps, stop_below)
        self._kept.clear()
        if plan.strip_rows is not None:
            restored = _run_in_strips(picture, stages, plan.strip_rows)
        else:
            assert plan.faded_px is not None
            restored = _run_in_faded_tiles(picture, stages, plan.faded_px)
        for stage in {id(stage): stage for stage in stages}.values():
            stage.release()  # the encoder will need it
        return restored

    def _run_whole(self, picture: Picture, steps: int, stop_below: float) -> Restored:
        frames = _two_frames(picture.size, self._kept)
        changes = []
        for stroke in self._iterate(picture, frames, steps, stop_below):
            changes.append(stroke.change)
        restored = Restored(with_stroke(picture, stroke), changes, stroke.settled)
        self._kept[:] = [frames]
        return restored

    def _mean_of_turns(self, picture: Picture, steps: int, stop_below: float) -> Restored:
        colour = picture.colour
        sums = np.zeros(colour.shape, np.float32 if colour.dtype == np.float32 else np.uint32)
        runs = []
        for orientation in range(1, 9):
            turned = replace(picture, colour=turn(colour, orientation), alpha=None)
            made = self._run(turned, steps, stop_below, colour.nbytes + sums.nbytes)
            sums += turn(made.picture.colour, INVERSE_TURN.get(orientation, orientation))
            runs.append(made.changes)
            settled = made.settled
        mean = sums / np.float32(8) if colour.dtype == np.float32 else ((sums + 4) // 8).astype(colour.dtype)
        changes = [float(np.mean(values)) for values in zip(*runs, strict=False)]  # some may settle before others
        return Restored(replace(picture, colour=mean), changes, settled)

    def run_each(self, picture: Picture, *, steps: int = STEPS) -> Iterator[Restored]:
        """Yield what `run` returns after F, after the first correction, and so on to the last.

        Where whole frames do not fit into memory, each of them starts at F again. Raises what `run` raises.
        """
        stages, plan = self._prepared(picture, steps)
        if plan.strip_rows is not None or plan.faded_px is not None:
            yield from (self.run(picture, steps=count) for count in range(len(stages)))
            return
        changes = []
        for stroke in self.iterate(picture, steps=steps):
            changes.append(stroke.change)
            yield Restored(with_stroke(picture, stroke), changes.copy(), stroke.settled)

    def why_keep(self, picture: Picture, restored: Restored) -> str | None:
        """Return why `picture` should be left as it is: it is sharp, or the result is no sharper; None if neither.

        There is no reference to compare with, so F itself is asked: what is left for it to change, in the picture and
        in the result. MODEL_CARD.md has the error rates.
        """
        before = blurriness(picture, restored.changes[0])
        if before < SHARP_BELOW:
            return f"it is sharp already (blurriness {before:.3f}, below {SHARP_BELOW})"
        after = blurriness(restored.picture, self.run(restored.picture, steps=0).changes[0])
        if after >= before:
            return f"the result is no sharper (blurriness {after:.3f}, before {before:.3f})"
        return None

    def _prepared(self, picture: Picture, steps: int, held_bytes: int = 0) -> tuple[list[Runner], memory.Plan]:
        """Return the networks to apply one after another, set to the tiles of the plan, and the plan."""
        check_steps(steps)
        stages = [self.f, *([self.g] * steps if self.g else [])]
        plan = self._plan(picture, stages, held_bytes)
        for stage in stages:
            if plan.tile_px < stage.tile_px:
                stage.release()  # it may keep memory of larger tiles
            stage.tile_px = plan.tile_px
        return stages, plan

    def _plan(self, picture: Picture, stages: list[Runner], held_bytes: int) -> memory.Plan:
        width, height = picture.size
        each = [x.get("bytes_per_px", UNKNOWN_BYTES_PER_PX) for x in self.weights.config["networks"].values()]
        overlaps = [stage.overlap_px for stage in stages if stage.overlap_px is not None]
        need = memory.Need(
            width,
            height,
            stored_bytes=held_bytes
            + 2 * picture.colour.nbytes
            + (memory.HINT_BYTES_PER_PX * width * height if self.f.scales > 1 else 0),
            stages=len(stages),
            overlap_px=max(overlaps) if len(overlaps) == len(stages) else 0,
            bytes_per_px=max(each) if self.f.in_turns else sum(each),
        )
        kept = sum(frames.nbytes for frames in self._kept)
        return memory.plan(need, memory.default_budget(kept) if self.max_memory is None else self.max_memory)

    def iterate(self, picture: Picture, *, steps: int = STEPS, stop_below: float = STOP_BELOW) -> Iterator[Stroke]:
        """Yield the strokes on `picture` with their changes: what the command reports.

        The pixels of a stroke are overwritten by the next but one.
        """
        return self._iterate(picture, _two_frames(picture.size, []), steps, stop_below)

    def _iterate(self, picture: Picture, frames: np.ndarray, steps: int, stop_below: float) -> Iterator[Stroke]:
        """Yield the strokes, which take turns in `frames` (`_two_frames`)."""
        turns = itertools.cycle((frames[1], frames[0]))

        def in_turn(network: Runner) -> Callable[[np.ndarray], np.ndarray]:
            return lambda x: network(x, out=next(turns))

        y = frames[0]
        bands.each(lambda top, bottom: picture.rows(top, bottom, out=y[:, :, top:bottom]), *y.shape[2:])
        return strokes(in_turn(self.f), in_turn(self.g) if self.g else None, y, steps=steps, stop_below=stop_below)

    def __call__(self, y: np.ndarray, *, steps: int = STEPS) -> np.ndarray:
        """Return the deblurred array for (H, W, 3) uint8: the form that `evaluate` takes."""
        return self.deblur(y, steps=steps)


def load(model: str | Path = DEFAULT_MODEL, *, runtime: str = "auto", max_memory: int | None = None) -> Model:
    """Load an embedded model by name (`fast`), or one from a folder with F.onnx, G.onnx and config.json.

    `runtime` is one of `backends.RUNTIMES`, `max_memory` in bytes. Raises WeightsError for an unknown model and for
    weights that do not match their checksum, ConfigError for a runtime that cannot be used here.
    """
    weights = find_weights(model)
    f, g = (weights.load(x, runtime) if x in weights.config["networks"] else None for x in ("F", "G"))
    assert f is not None  # find_weights checked it
    return Model(weights, f, g, max_memory)


def _two_frames(size: tuple[int, int], kept: list[np.ndarray]) -> np.ndarray:
    """Return memory for two pictures of `size` = (width, height), (2, 1, 3, H, W) float32: that of `kept`, if it fits.

    It is taken out of `kept`, so that no other thread has it too.
    """
    width, height = size
    with contextlib.suppress(IndexError):
        frames = kept.pop()
        if frames.size == 6 * height * width:
            return frames.reshape(2, 1, 3, height, width)
        del frames  # before more is taken
    return np.empty((2, 1, 3, height, width), np.float32)


def blurriness(picture: Picture, change: float) -> float:
    """Return F's mean `change` of a picture as a share of the mean step between neighbouring pixels.

    Under SHARP_BELOW for nearly all sharp pictures, up to 5 for blurry ones.
    """
    height = picture.size[1]
    steps, pixels = 0.0, 0
    for top in range(0, height, GRADIENT_ROWS):
        grey = picture.rows(top, min(top + GRADIENT_ROWS + 1, height)).mean(axis=1)[0]
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        steps += float(across.sum() + down.sum())
        pixels += across.size + down.size
    return change / max(steps / max(pixels, 1), 1e-6)


def _run_in_strips(picture: Picture, stages: list[Runner], rows: int) -> Restored:
    height = picture.size[1]
    sums = [0.0] * len(stages)
    f = stages[0]
    hint = None
    if f.scales > 1:
        hint = f.hint(halved(picture.rows, picture.size, multiple=f.multiple_px))
    blocks: Iterator[np.ndarray] = (picture.rows(top, min(top + rows, height)) for top in range(0, height, rows))

    def through(index: int, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        stage = stages[index]
        overlap = stage.overlap_px
        assert overlap is not None  # the plan has strips
        how = {"size": rows + 2 * overlap, "overlap": overlap, "multiple": stage.multiple_px}
        tops = (span.read[0] for span in spans(height, **how))

        def hinted(x: np.ndarray) -> np.ndarray:
            return stage(x, hint=None if index or hint is None else hint[:, :, next(tops) // 2 :])

        strips = run_in_strips(hinted, blocks, height, **how)
        for given, made in strips:
            sums[index] += total_change(made, given)
            yield made

    for index in range(len(stages)):
        blocks = through(index, blocks)
    made = picture.repainted(blocks)
    return Restored(made, [total / (3 * height * picture.size[0]) for total in sums], settled=False)


def _run_in_faded_tiles(picture: Picture, stages: list[Runner], side: int) -> Restored:
    sums, values = [0.0] * len(stages), 0

    def all_strokes(x: np.ndarray) -> np.ndarray:
        nonlocal values
        values += x.size
        for index, stage in enumerate(stages):
            made = stage(x)
            sums[index] += total_change(made, x)
            x = made
        return x

    blocks = run_faded(all_strokes, picture.rows, picture.size, side=side, overlap=memory.FADED_OVERLAP_PX)
    made = picture.repainted(blocks)
    return Restored(made, [total / values for total in sums], settled=False)


def with_stroke(picture: Picture, stroke: Stroke) -> Picture:
    """Return `picture` with the pixels of a stroke, clipped to [0, 1]."""
    return picture.repainted([stroke.pixels])


def default_output(path: Path) -> Path:
    """Return where the result for `path` goes: beside it, in its own format if that can be written."""
    return path.parent / f"{path.stem}-deblurred{output_suffix(path)}"


def output_suffix(path: Path) -> str:
    """Return how the name of the result for `path` ends: as its own, if that format can be written."""
    kind = image.SUFFIXES.get(path.suffix.lower(), "GIF")
    return image.WRITTEN_AS.get(kind, path.suffix)


def _as_picture(given):  # type: ignore[no-untyped-def]
    """Return the Picture of an image or array, and the function that turns a Picture into the same kind."""
    from PIL import Image

    if isinstance(given, Picture):
        return given, lambda p: p
    if isinstance(given, Image.Image):
        return from_pil(given), to_pil
    if not isinstance(given, np.ndarray):
        raise ImageError(f"{type(given).__name__} is no picture; give a path, a Pillow image or a numpy array.")
    if np.issubdtype(given.dtype, np.floating):
        return _from_floats(given)
    source = from_samples(given)
    return source, lambda p: p.samples().reshape(given.shape)


def _from_floats(given: np.ndarray):  # type: ignore[no-untyped-def]
    if not np.isfinite(given).all() or given.min(initial=0) < 0 or given.max(initial=0) > 1:
        raise ImageError("An array of floats must lie in [0, 1] without NaN; divide by 255 or clip it first.")
    from_samples(np.zeros(given.shape, np.uint8))  # checks the shape
    channels = 1 if given.ndim == 2 else given.shape[2]
    cube = given.reshape(*given.shape[:2], channels)
    colours = 1 if channels <= 2 else 3

    def like(picture: Picture) -> np.ndarray:
        return np.concatenate([picture.colour.astype(given.dtype), cube[:, :, colours:]], axis=2).reshape(given.shape)

    return Picture(cube[:, :, :colours].astype(np.float32)), like


def strip(picture: Picture, strokes_: Iterable[Picture], *, height_px: int = 480) -> Picture:
    """Return one picture of the input and every stroke side by side, labelled, at most `height_px` high."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=20)
    panels = []
    for index, shown in enumerate(itertools.chain([picture], strokes_)):
        panel = Image.fromarray(np.broadcast_to(shown.in_8_bits().colour, (*shown.colour.shape[:2], 3)).copy())
        panel.thumbnail((10 * height_px, height_px), Image.Resampling.LANCZOS)
        panels.append(("input" if index == 0 else f"x{index - 1}", panel))
    gap, bar = 6, 28
    width = sum(max(p.width, 60) + gap for _, p in panels) - gap
    sheet = Image.new("RGB", (width, max(p.height for _, p in panels) + bar), "white")
    draw, left = ImageDraw.Draw(sheet), 0
    for label, panel in panels:
        draw.text((left + 4, 2), label, fill="black", font=font)
        sheet.paste(panel, (left, bar))
        left += max(panel.width, 60) + gap
    return from_pil(sheet)
