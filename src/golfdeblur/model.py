"""Picture in, picture out: the library's front door, for paths, Pillow images and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from golfdeblur import DEFAULT_MODEL
from golfdeblur.engine import budget, passes
from golfdeblur.engine.ensemble import mean_of_turns
from golfdeblur.engine.passes import Restored, Stages
from golfdeblur.engine.runner import Runner, open_runner
from golfdeblur.files import image
from golfdeblur.files.kinds import as_picture
from golfdeblur.files.names import default_output
from golfdeblur.files.picture import Picture
from golfdeblur.golf import STEPS, STOP_BELOW, check_steps
from golfdeblur.weights import Weights, find_weights

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Kind = TypeVar("Kind", str, Path, Image.Image, np.ndarray, Picture)


@dataclass(frozen=True)
class Model:
    """A trained pair of networks, ready to run, also in several threads at once; pickled, it loads itself again.

    `deblur` and `strokes` take and give pictures of any kind; `restore` and `restore_each` take a Picture, and say
    beside the result what the strokes did.
    """

    weights: Weights
    f: Runner
    g: Runner | None
    """None in a model without a corrector."""
    max_memory: int | None = None
    """Bytes that the process may take; None: half of what is free when a picture comes."""

    @property
    def runtime(self) -> str:
        """Which of `runtimes.RUNTIMES` computes the networks."""
        return self.f.session.runtime

    def deblur(self, picture: Kind, *, steps: int = STEPS, self_ensemble: bool = False) -> Kind:
        """Return the deblurred picture, of the same kind, size and depth as `picture`.

        A path gives a path: the result is written beside the input as NAME-deblurred.SUFFIX, and never over a file
        that is there. An array is (H, W) or (H, W, C), uint8, uint16 or float in [0, 1]; alpha, its last of 2 or 4
        channels, stays as it is. `self_ensemble`: see `restore`. Raises ImageError for what is not an image.
        """
        if isinstance(picture, str | Path):
            path = default_output(Path(picture))
            image.check_writable(path, force=False)
            image.write(self.restore(image.read(picture), steps=steps, self_ensemble=self_ensemble).picture, path)
            return cast(Any, type(picture))(path)
        source, like = as_picture(picture)
        return like(self.restore(source, steps=steps, self_ensemble=self_ensemble).picture)

    def strokes(self, picture: Kind, *, steps: int = STEPS) -> Iterator[Kind]:
        """Yield x_0, x_1, ..., each of the same kind as `picture`; a path gives Pictures."""
        source, like = (image.read(picture), lambda p: p) if isinstance(picture, str | Path) else as_picture(picture)
        for restored in self.restore_each(source, steps=steps):
            yield like(restored.picture)

    def restore(
        self, picture: Picture, *, steps: int = STEPS, stop_below: float = STOP_BELOW, self_ensemble: bool = False
    ) -> Restored:
        """Return `picture` after the last stroke, and what the strokes did.

        Where whole frames do not fit into memory, strips of it go through all strokes one after another. The result
        is the same, except that such a picture never settles early. Of a model with instance norm (`paper`) tiles go
        instead, each with statistics of its own: close to the full frame's result, but not equal (docs/performance.md).
        With `self_ensemble` it is the mean over the picture turned and mirrored in all eight ways: eight times the
        work for 0.1 to 0.3 dB (MODEL_CARD.md). Raises ConfigError if the budget is too small.
        """

        def once(picture: Picture, held_bytes: int = 0) -> Restored:
            stages, plan = self._planned(picture, steps, held_bytes)
            return passes.restore(picture, stages, plan, stop_below=stop_below)

        return mean_of_turns(picture, once) if self_ensemble else once(picture)

    def restore_each(self, picture: Picture, *, steps: int = STEPS) -> Iterator[Restored]:
        """Yield what `restore` returns after F, after the first correction, and so on to the last.

        Where whole frames do not fit into memory, each of them starts at F again. Raises what `restore` raises.
        """
        stages, plan = self._planned(picture, steps)
        if not plan.is_whole:
            yield from (self.restore(picture, steps=count) for count in range(len(stages.each)))
            return
        changes = []
        for stroke in passes.whole_frames(picture, stages, plan, stop_below=STOP_BELOW):
            changes.append(stroke.change)
            yield Restored(picture.repainted([stroke.pixels]), changes.copy(), stroke.settled)

    def _planned(self, picture: Picture, steps: int, held_bytes: int = 0) -> tuple[Stages, budget.Plan]:
        check_steps(steps)
        stages = Stages(self.f, self.g, steps)
        most = budget.default_budget() if self.max_memory is None else self.max_memory
        return stages, budget.plan(stages.need(picture, held_bytes), most)

    def __reduce__(self) -> tuple[Any, ...]:
        return _ready, (self.weights, self.runtime, self.max_memory)


def load(model: str | Path = DEFAULT_MODEL, *, runtime: str = "auto", max_memory: int | None = None) -> Model:
    """Load an embedded model by name (`fast`), or one from a folder with F.onnx, G.onnx and config.json.

    `runtime` is one of `runtimes.RUNTIMES`, `max_memory` in bytes. Raises WeightsError for an unknown model and for
    weights that do not match their checksum, ConfigError for a runtime that cannot be used here.
    """
    return _ready(find_weights(model), runtime, max_memory)


def _ready(weights: Weights, runtime: str, max_memory: int | None) -> Model:
    f, g = (None if file is None else open_runner(file, runtime) for file in (weights.f, weights.g))
    assert f is not None
    return Model(weights, f, g, max_memory)
