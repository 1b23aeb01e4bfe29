"""Picture in, picture out: the library's front door, for paths, Pillow images and arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from golfdeblur import DEFAULT_MODEL, machine, runtimes
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.deconvolution.uniformity import Explanation
from golfdeblur.engine import budget, passes
from golfdeblur.engine.deconvolving import Deconvolution, StrokeNetworks, asked_for
from golfdeblur.engine.ensemble import mean_of_turns
from golfdeblur.engine.passes import Restored, Stages, check_strength
from golfdeblur.engine.runner import Runner, open_runner
from golfdeblur.errors import ConfigError, ImageError, LeftOutWarning
from golfdeblur.files import image, memory
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
    max_pixels: int = image.LARGEST_PIXELS
    """A file of a larger picture is refused before it is decoded."""
    threads: int | None = None
    """How many compute at once; None: GOLF_THREADS, or as many as the process may use (`machine.threads`)."""
    stroke: StrokeNetworks = field(default_factory=StrokeNetworks)
    """What the model has for strokes that deconvolve."""

    @property
    def runtime(self) -> str:
        """Which of `runtimes.RUNTIMES` computes the networks."""
        return self.f.session.runtime

    def deblur(
        self,
        picture: Kind,
        *,
        blur: str = "auto",
        kernel: Kernel | None = None,
        light: str = "auto",
        steps: int = STEPS,
        self_ensemble: bool = False,
        strength: float = 1.0,
        output: str | Path | None = None,
        overwrite: bool = False,
    ) -> Kind:
        """Return the deblurred picture, of the same kind, size and depth as `picture`.

        `blur` is `scene` (F alone takes out what moved), `shake` (one kernel is read and taken out of the whole
        picture) or `auto` (`shake` where `explain` says that one kernel does it); a `kernel` that is given is taken
        out. `light`, `linear` or `srgb`, says where a blur is a convolution.

        A path gives a path: the result is written to `output`, or beside the input as NAME-deblurred.SUFFIX, and only
        with `overwrite` over a file that is there. An array is (H, W) or (H, W, C), uint8, uint16 or float in [0, 1];
        alpha, its last of 2 or 4 channels, stays as it is. What of a file's metadata could not be kept is named in a
        LeftOutWarning. `self_ensemble` (which knows scenes only) and `strength` are as in `restore`. Raises ImageError
        for what is not an image, ConfigError for an `output` where nothing is written.

        Examples:
            >>> import golfdeblur
            >>> from PIL import Image
            >>> photo = Image.open("examples/walkway.jpg").crop((200, 100, 328, 196))
            >>> sharp = golfdeblur.load().deblur(photo)
            >>> sharp.size, sharp.mode
            ((128, 96), 'RGB')
        """
        asked = None if self_ensemble or not steps else self.deconvolution(blur, kernel, light)
        how: Any = {"steps": steps, "self_ensemble": self_ensemble, "deconvolution": asked, "strength": strength}
        if isinstance(picture, str | Path):
            path = default_output(Path(picture)) if output is None else Path(output)
            if path.exists() and not overwrite:
                raise ImageError(f"{path} exists already; give overwrite=True to replace it, or another output=.")
            image.check_writable(path, force=overwrite)
            made = self.restore(image.read(picture, max_pixels=self.max_pixels), **how).picture
            if left_out := image.write(made, path, force=overwrite):
                warnings.warn(f"{picture}: left out: {'; '.join(left_out)}.", LeftOutWarning, stacklevel=2)
            return cast(Any, type(picture))(path)
        if output is not None or overwrite:
            raise ConfigError("output= and overwrite= are for the path of a file; save the picture that comes back.")
        source, like = as_picture(picture)
        return like(self.restore(source, **how).picture)

    def deblur_bytes(
        self,
        content: bytes | BinaryIO,
        format: str | None = None,
        *,
        steps: int = STEPS,
        self_ensemble: bool = False,
        strength: float = 1.0,
    ) -> bytes:
        """Return the bytes of the deblurred picture for those of an image file, or for a file that is open to be read.

        Metadata are kept as with paths, and nothing is written to a disk. `format` is such as "png" or "JPEG"; None is
        the input's, or PNG for GIF and JPEG for HEIC. What could not be kept is named in a LeftOutWarning. The rest is
        as in `deblur`. Raises ImageError for what is no image, ConfigError for a format that cannot be written.

        Examples:
            >>> import io
            >>> import golfdeblur
            >>> from PIL import Image
            >>> photo = io.BytesIO()
            >>> Image.open("examples/walkway.jpg").crop((200, 100, 264, 148)).save(photo, "JPEG")
            >>> golfdeblur.load().deblur_bytes(photo.getvalue(), "png")[1:4]
            b'PNG'
        """
        kind = None if format is None else memory.kind_of(format)
        given = content if isinstance(content, bytes | bytearray | memoryview) else content.read()
        picture = memory.from_bytes(bytes(given), max_pixels=self.max_pixels)
        asked = None if self_ensemble or not steps else self.deconvolution("auto")
        how: Any = {"steps": steps, "self_ensemble": self_ensemble, "strength": strength, "deconvolution": asked}
        made = self.restore(picture, **how).picture
        written, left_out = memory.to_bytes(made, kind)
        if left_out:
            warnings.warn(f"Left out: {'; '.join(left_out)}.", LeftOutWarning, stacklevel=2)
        return written

    def strokes(
        self,
        picture: Kind,
        *,
        blur: str = "auto",
        kernel: Kernel | None = None,
        light: str = "auto",
        steps: int = STEPS,
    ) -> Iterator[Kind]:
        """Yield x_0, x_1, ..., each of the same kind as `picture`; a path gives Pictures. Arguments as in `deblur`.

        Examples:
            >>> import golfdeblur
            >>> import numpy as np
            >>> model, y = golfdeblur.load(), np.linspace(0, 1, 48 * 64).reshape(48, 64)
            >>> [x.shape for x in model.strokes(y, steps=0)]
            [(48, 64)]
        """
        if isinstance(picture, str | Path):
            picture = cast(Any, image.read(picture, max_pixels=self.max_pixels))
        source, like = as_picture(picture)
        asked = self.deconvolution(blur, kernel, light) if steps else None
        for restored in self.restore_each(source, steps=steps, deconvolution=asked):
            yield like(restored.picture)

    def explain(self, picture: Kind, *, light: str = "auto") -> Explanation:
        """Return the kernel that is read from `picture`, and whether it explains all of it, in numbers and a sentence.

        Raises ConfigError where the picture is too large to be deconvolved in this memory.

        Examples:
            >>> import golfdeblur
            >>> from PIL import Image
            >>> photo = Image.open("examples/walkway.jpg").crop((200, 100, 456, 292))
            >>> found = golfdeblur.load().explain(photo)
            >>> found.uniform, found.kernel.taps.ndim
            (False, 2)
        """
        if isinstance(picture, str | Path):
            picture = cast(Any, image.read(picture, max_pixels=self.max_pixels))
        source, _ = as_picture(picture)
        stages, plan = self._planned(source, 1)
        return passes.explain(source, stages, plan, Deconvolution(light=light, decides=True), self.stroke)

    def deconvolution(self, blur: str, kernel: Kernel | None = None, light: str = "auto") -> Deconvolution | None:
        """Return what `restore` is to be told for these arguments of `deblur`. Raises ConfigError for unknown ones."""
        return asked_for(blur, kernel, light, decides=self.stroke.judge is not None)

    def restore(
        self,
        picture: Picture,
        *,
        steps: int = STEPS,
        stop_below: float = STOP_BELOW,
        self_ensemble: bool = False,
        deconvolution: Deconvolution | None = None,
        strength: float = 1.0,
    ) -> Restored:
        """Return `picture` after the last stroke, and what the strokes did.

        Where whole frames do not fit into memory, strips of it go through all strokes one after another. The result
        is the same, except that such a picture never settles early. Of a model with instance norm (`paper`) tiles go
        instead, each with statistics of its own: close to the full frame's result, but not equal (docs/performance.md).
        With `self_ensemble` it is the mean over the picture turned and mirrored in all eight ways: eight times the
        work for 0.1 to 0.3 dB (MODEL_CARD.md). With a `deconvolution` the strokes deconvolve with one kernel for the
        whole picture, given or read from it; without, a G that was trained for that has nothing to do. `strength` is
        the result's share in the blend with the input, 0 to 1. Raises ConfigError if the budget is too small, for both
        together, and for other strengths.

        Examples:
            >>> import golfdeblur
            >>> import numpy as np
            >>> from golfdeblur.files.picture import from_samples
            >>> picture = from_samples(np.full((48, 64, 3), 128, np.uint8))
            >>> restored = golfdeblur.load().restore(picture, steps=0)
            >>> restored.picture.size, len(restored.changes)
            ((64, 48), 1)
        """
        check_strength(strength)
        if deconvolution is not None:
            if self_ensemble or not steps:
                raise ConfigError("A deconvolution needs a stroke and no self-ensemble; leave one of them out.")
            *_, last = self.restore_each(picture, steps=steps, deconvolution=deconvolution)
            return last.blended(picture, strength)

        def once(picture: Picture, held_bytes: int = 0) -> Restored:
            stages, plan = self._planned(picture, steps, held_bytes)
            return passes.restore(picture, stages, plan, stop_below=stop_below)

        made = mean_of_turns(picture, once) if self_ensemble else once(picture)
        return made.blended(picture, strength)

    def restore_each(
        self, picture: Picture, *, steps: int = STEPS, deconvolution: Deconvolution | None = None
    ) -> Iterator[Restored]:
        """Yield what `restore` returns after F, after the first correction, and so on to the last.

        Where whole frames do not fit into memory, each of them starts at F again. Raises what `restore` raises.
        """
        stages, plan = self._planned(picture, steps)
        if deconvolution is not None and (plan.is_whole or not deconvolution.decides):
            asked, networks = deconvolution, self.stroke
            yield from passes.deconvolve_each(picture, stages, plan, asked, networks, stop_below=STOP_BELOW)
            return
        if not plan.is_whole:
            yield from (self.restore(picture, steps=count) for count in range(len(stages.each)))
            return
        yield from passes.restore_each(picture, stages, plan, stop_below=STOP_BELOW)

    def _planned(self, picture: Picture, steps: int, held_bytes: int = 0) -> tuple[Stages, budget.Plan]:
        check_steps(steps)
        stages = Stages(self.f, self.g, steps)
        most = budget.default_budget() if self.max_memory is None else self.max_memory
        return stages, budget.plan(stages.need(picture, held_bytes), most)

    def __reduce__(self) -> tuple[Any, ...]:
        return _ready, (self.weights, self.runtime, self.max_memory, self.max_pixels, self.threads)

    def __repr__(self) -> str:
        networks = "F and G" if self.g or self.stroke.g else "F"
        return f"<golfdeblur.Model {self.weights.name}: {networks} in {self.weights.folder}, runtime {self.runtime}>"


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    runtime: str = "auto",
    max_memory: int | None = None,
    max_pixels: int = image.LARGEST_PIXELS,
    threads: int | None = None,
) -> Model:
    """Load an embedded model by name (`fast`), or one from a folder with F.onnx, G.onnx and config.json.

    `runtime` is one of `runtimes.RUNTIMES`, `max_memory` in bytes; files of more than `max_pixels` are refused;
    `threads` compute at once. Raises WeightsError for an unknown model and for weights that do not match their
    checksum, ConfigError for a runtime that cannot be used here.

    Examples:
        >>> import golfdeblur
        >>> golfdeblur.load("fast", runtime="onnxruntime")  # doctest: +ELLIPSIS
        <golfdeblur.Model fast: F and G in ..., runtime onnxruntime>
    """
    return _ready(find_weights(model), runtime, max_memory, max_pixels, threads)


def _ready(weights: Weights, runtime: str, max_memory: int | None, max_pixels: int, threads: int | None) -> Model:
    with machine.using(threads):
        files = weights.f, weights.g, weights.stroke
        f, g, corrector = (None if file is None else open_runner(file, runtime) for file in files)
        # So small that they are computed alike in every runtime.
        given = weights.k, weights.j
        k, j = (None if file is None else runtimes.open_network("onnxruntime", file.content()) for file in given)
    assert f is not None
    return Model(weights, f, g, max_memory, max_pixels, threads, StrokeNetworks(corrector, k, j))
