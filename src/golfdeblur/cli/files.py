"""What `golf deblur` does with files and folders, once its options are read."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfdeblur import album
from golfdeblur.cli.app import check_new, progress
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.deconvolving import Deconvolution
from golfdeblur.engine.passes import Restored
from golfdeblur.errors import ConfigError, GolfError, ImageError
from golfdeblur.files import atomic, image
from golfdeblur.files.names import default_output, output_suffix
from golfdeblur.files.picture import Picture
from golfdeblur.model import Model
from golfdeblur.sharpness import why_keep
from golfdeblur.sheet import side_by_side


@dataclass(frozen=True)
class How:
    """What the options say of every image."""

    steps: int
    blur: str
    kernel: Kernel | None
    light: str
    save_kernel: Path | None
    self_ensemble: bool
    strength: float
    with_strokes: bool
    keep_sharp: bool
    force: bool
    as_json: bool
    quiet: bool
    verbose: bool
    kind: str | None = None
    """The format of what goes into a pipe, if it is not the input's."""

    @property
    def blur_settings(self) -> dict[str, Any]:
        """What `album.determines` is told of the blur."""
        taps = None if self.kernel is None else hashlib.sha256(self.kernel.taps.tobytes()).hexdigest()
        return {"blur": self.blur, "kernel": taps, "light": self.light}

    def deconvolution(self, model: Model) -> Deconvolution | None:
        """Return what `Model.restore` is told."""
        if self.self_ensemble or not self.steps:
            return None
        return model.deconvolution(self.blur, self.kernel, self.light)

    def say(self, report: dict[str, Any]) -> None:
        """Print the report of one image; beside the picture itself where that goes to the standard output."""
        beside = sys.stderr if report["output"] == str(image.STREAM) else sys.stdout
        if self.as_json:
            print(json.dumps(report), flush=True, file=beside)
        elif not self.quiet:
            print(_sentence(report, verbose=self.verbose), flush=True, file=beside)


def folder_of(inputs: list[Path], output: Path | None, out_dir: Path | None, wanted: str) -> album.Found:
    """List the images of the one folder that -r takes, and their targets. Raises ConfigError for other options."""
    if len(inputs) != 1 or not inputs[0].is_dir():
        raise ConfigError("-r takes one folder; give a folder, or leave -r out.")
    if output is not None or out_dir is None:
        raise ConfigError("-r needs --out-dir, a folder for the results.")
    out_dir.mkdir(parents=True, exist_ok=True)
    return album.jobs_in(inputs[0], out_dir, wanted=wanted)


def deblur_folder(model: Model, found: album.Found, manifest: album.Manifest, how: How) -> None:
    """Do what the manifest does not name as done, and say in the end what became of every file."""
    for sentence in found.refused:
        print(f"golf: {sentence}", file=sys.stderr)
    entries = manifest.entries()
    todo = [job for job in found.jobs if how.force or not manifest.is_done(job, manifest.entry(job, entries))]
    failed, done = len(found.refused), 0
    jobs = zip(todo, readers(model, [job.source for job in todo]), strict=True)
    for job, read in progress(jobs, len(todo), "Deblurring", quiet=how.quiet or how.as_json):
        try:
            # Another process may have written it since, or the user: only what the manifest knows is replaced.
            if not how.force and manifest.is_done(job, manifest.entry(job)):
                continue
            job.target.parent.mkdir(parents=True, exist_ok=True)
            manifest.check_writable(job, force=how.force)
            manifest.begin(job)  # from here on whatever is there is ours, also if the run is killed
            report = deblur_file(model, job.source, read, job.target, dataclasses.replace(how, force=True))
            manifest.record(job, report)
            done += 1
        except Exception as error:
            failed += 1
            print(f"golf: {failure(job.source, error)}", file=sys.stderr)
            continue
        how.say({"input": str(job.source), **report})
    counts = f"{done} deblurred, {len(found.jobs) - len(todo)} done before, {found.skipped} files are no images"
    if failed:
        raise GolfError(f"{failed} failed, as named above; {counts}.")
    if not how.quiet and not how.as_json:
        print(f"{counts[0].upper()}{counts[1:]}.")


def failure(source: Path, error: Exception) -> str:
    """Return the sentence that says why one file failed, whatever it was that libraries raised."""
    if isinstance(error, GolfError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{source}: there is not enough memory; close other programs, or give --max-memory."
    if isinstance(error, OSError) and error.strerror:
        return f"{source}: {error.filename or 'the system'}: {error.strerror}; check the path and the free space."
    reason = " ".join(str(error).rstrip(".").split())[:200]
    return f"{source} could not be done ({type(error).__name__}: {reason}); please report it."


def readers(model: Model, paths: Iterable[Path]) -> Iterable[Callable[[], Picture]]:
    """Return what reads each file: ahead of time, unless --max-memory is given, which counts one picture only."""
    read = functools.partial(image.read, max_pixels=model.max_pixels)
    if model.max_memory is None:
        return image.read_ahead(read, paths)
    return (functools.partial(read, path) for path in paths)


def targets_of(inputs: list[Path], output: Path | None, out_dir: Path | None, wanted: str) -> list[Path]:
    """Return where each result goes. Raises ConfigError where two would meet, or one replace an input."""
    for path in inputs:
        image.check_local(path)
    if output is not None and wanted != "keep" and not image.is_stream(output):
        raise ConfigError(f"{output} has a name that says its format; leave --format out, or give another name.")
    if output is not None and out_dir is not None:
        raise ConfigError("Both -o and --out-dir are given; use -o for one file or --out-dir for many.")
    if output is not None:
        if len(inputs) != 1:
            raise ConfigError(f"-o names one file, but {len(inputs)} inputs are given; use --out-dir.")
        output.parent.mkdir(parents=True, exist_ok=True)
        targets = [output]
    elif out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        if image.STREAM in inputs:
            raise ConfigError("What comes by the standard input has no name; give -o FILE, or -o - for the output.")
        targets = [out_dir / f"{path.stem}{output_suffix(path, wanted)}" for path in inputs]
    else:
        targets = [default_output(path, wanted) for path in inputs]
    given = {path.resolve(): path for path in inputs}
    seen: dict[Path, Path] = {}
    for source, target in zip(inputs, targets, strict=True):
        if image.is_stream(target):
            continue
        place = target.resolve()
        if place == source.resolve():
            raise ConfigError(f"{source} would be replaced by its own result; give another name or folder.")
        if place in given:
            raise ConfigError(
                f"{given[place]} would be replaced by the result of {source}; leave it out, or give an --out-dir."
            )
        if place in seen:
            raise ConfigError(f"{seen[place]} and {source} would both be written to {target}; deblur them apart.")
        seen[place] = source
    return targets


def stroke_targets(target: Path, steps: int) -> list[Path]:
    """Return where the strokes of the result `target` go, and last the sheet that shows them side by side."""
    strokes = [target.with_name(f"{target.stem}-x{i}{target.suffix}") for i in range(steps + 1)]
    return [*strokes, target.with_name(f"{target.stem}-strokes.png")]


def check_strokes(inputs: list[Path], targets: list[Path], steps: int) -> None:
    """Raise ConfigError where a stroke would be written over an input, or a result or stroke of another one."""
    taken = {path.resolve(): path for path in (*inputs, *targets)}
    for source, target in zip(inputs, targets, strict=True):
        for path in stroke_targets(target, steps):
            if path.resolve() in taken:
                raise ConfigError(f"A stroke of {source} would be written to {path}, which is taken; deblur it apart.")
            taken[path.resolve()] = path


def deblur_file(model: Model, source: Path, read: Callable[[], Picture], target: Path, how: How) -> dict[str, Any]:
    """Deblur one file into `target`, and return the report that --json prints."""
    started = time.perf_counter()
    if source.is_dir():
        raise ConfigError(f"{source} is a folder; give image files, or -r and --out-dir for all that it holds.")
    if album.is_raw(source):
        raise ImageError(album.raw_sentence(source))
    image.check_writable(target, force=how.force)
    *stroke_files, sheet = stroke_targets(target, how.steps)
    if how.with_strokes:
        for path in (*stroke_files, sheet):
            image.check_writable(path, force=how.force)
    if how.save_kernel is not None:
        suffix = how.save_kernel.suffix
        check_new(how.save_kernel, force=how.force)
        Kernel.from_disc(1).encoded(suffix)  # refuses a suffix before the work
    picture = read()
    read_at = time.perf_counter()
    again = picture if image.is_stream(source) else None  # which cannot be read again
    (width, height), pictures, digest = picture.size, picture.keep.pictures, picture.keep.sha256
    if how.with_strokes:
        restored = _write_strokes(model, picture, stroke_files, sheet, how)
    else:
        restored = model.restore(
            picture,
            steps=how.steps,
            self_ensemble=how.self_ensemble,
            deconvolution=how.deconvolution(model),
            strength=how.strength,
        )
    kept = why_keep(model, picture, restored) if how.keep_sharp else None
    del picture  # a large photo need not be held while it is encoded
    restored_at = time.perf_counter()
    piped = image.is_stream(source) or image.is_stream(target)
    if kept is not None and not piped and source.suffix.lower() == target.suffix.lower():
        image.copy(source, target, sha256=digest, force=how.force)
        left_out = []
    else:
        made = restored.picture if kept is None else again or read()
        left_out = image.write(made, target, force=how.force, kind=how.kind)
    if how.save_kernel is not None and restored.kernel is not None:
        atomic.write(how.save_kernel, restored.kernel.encoded(how.save_kernel.suffix))
    written_at = time.perf_counter()
    kernel, found = restored.kernel, restored.explanation
    return {
        "output": str(target),
        "input_sha256": digest,
        "width": width,
        "height": height,
        "pictures": pictures,
        "left_out": left_out,
        "model": model.weights.name,
        "corrections": len(restored.changes) - 1,
        "settled": restored.settled,
        "kept": kept,
        "found": None if found is None else {"sentence": found.sentence, "left": found.left, "halo": found.halo},
        "kernel": None if kernel is None else {"extent_px": round(kernel.extent_px, 1), "light": kernel.light},
        "changes_grey_levels": [round(255 * change, 4) for change in restored.changes],
        "strip": str(sheet) if how.with_strokes else None,
        "seconds": round(written_at - started, 3),
        "seconds_of": {
            "waiting_for_the_file": round(read_at - started, 3),
            "restoring": round(restored_at - read_at, 3),
            "writing": round(written_at - restored_at, 3),
        },
    }


def _write_strokes(model: Model, picture: Picture, files: list[Path], sheet: Path, how: How) -> Restored:
    """Write every stroke to its file and all of them side by side to `sheet`."""
    restored: list[Restored] = []

    def written() -> Iterator[Picture]:
        strokes = model.restore_each(picture, steps=len(files) - 1, deconvolution=how.deconvolution(model))
        for path, made in zip(files, strokes, strict=False):  # it may settle
            image.write(made.picture, path, force=how.force)
            restored[:] = [made]
            yield made.picture

    image.write(side_by_side(picture, written()), sheet, force=how.force)
    return restored[0]


def _sentence(report: dict[str, Any], *, verbose: bool) -> str:
    words = f"Left as it is: {report['kept']}" if report["kept"] else "Deblurred"
    if report["kernel"] and not report["kept"]:
        count = report["corrections"]
        words = f"Deblurred: one blur of {report['kernel']['extent_px']:.0f} px, the same everywhere, in {count} "
        words += "stroke" if count == 1 else "strokes"
    lines = [f"{report['output']}  {words}, {report['seconds']:.1f} s", *_remarks(report)]
    if verbose and report["found"]:
        lines.append(f"Found: {report['found']['sentence']}.")
    return "\n  ".join([*lines, _figures(report)] if verbose else lines)


def _figures(report: dict[str, Any]) -> str:
    changes = ", ".join(f"{c:.2f}" for c in report["changes_grey_levels"])
    count = report["corrections"]
    words = f"1 step and {count} correction{'' if count == 1 else 's'}{' (settled)' if report['settled'] else ''}"
    return f"{words}, mean change {changes} of 255"


def _remarks(report: dict[str, Any]) -> Iterator[str]:
    if not report["kept"] and report["changes_grey_levels"][0] < 0.3:
        yield "Hardly anything changed: the photo is sharp already, or its blur is not motion blur."
    if report["left_out"]:
        yield f"Left out: {'; '.join(report['left_out'])}."
    if report["pictures"] > 1:
        yield f"Only the first of the file's {report['pictures']} pictures was taken."
