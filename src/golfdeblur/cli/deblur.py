"""`golf deblur`: blurry image files in, sharper ones out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import (
    EnsembleOption,
    ForceOption,
    MemoryOption,
    ModelOption,
    QuietOption,
    RuntimeOption,
    StepsOption,
    StrengthOption,
    ThreadsOption,
    app,
    progress,
)
from golfdeblur.engine.budget import parse_size
from golfdeblur.errors import ConfigError, GolfError
from golfdeblur.golf import STEPS


@app.command("deblur")
def deblur_command(
    inputs: Annotated[
        list[Path], typer.Argument(help="Blurry image files, - for a pipe; or one folder, with -r and --out-dir.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The result's file, for one input; - for a pipe.")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option("--out-dir", help="A folder for the results, made if needed.")] = None,
    wanted: Annotated[
        str, typer.Option("--format", help="What results are, without -o FILE: png, jpg, webp, tiff, or keep.")
    ] = "keep",
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", help="Deblur a whole folder; again, it does what is missing or changed."),
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    self_ensemble: EnsembleOption = False,
    strength: StrengthOption = 1.0,
    runtime: RuntimeOption = "auto",
    max_memory: MemoryOption = None,
    threads: ThreadsOption = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, help="Refuse photos of more pixels than this, 500 million if left out, before they are read."
        ),
    ] = None,
    strokes: Annotated[
        bool, typer.Option("--strokes", help="Also write x0, x1, ... and a strip that shows them side by side.")
    ] = False,
    keep_sharp: Annotated[
        bool, typer.Option("--keep-sharp", help="Copy photos that are not blurred, or get no sharper, as they are.")
    ] = False,
    blur: Annotated[
        str,
        typer.Option(help="scene: what moved. shake: one kernel for the whole photo, read from it. auto: as it finds."),
    ] = "auto",
    kernel: Annotated[Path | None, typer.Option(help="Take this blur out: a .npy, .png or .tif of its kernel.")] = None,
    motion: Annotated[
        str | None, typer.Option(help="Take a straight motion out: LENGTH,ANGLE in px and degrees.")
    ] = None,
    disc: Annotated[float | None, typer.Option(help="Take a lens out of focus out: the disc's radius in px.")] = None,
    light: Annotated[str, typer.Option(help="In which light the kernel blurs: auto, linear or srgb.")] = "auto",
    save_kernel: Annotated[
        Path | None, typer.Option(help="Also write the kernel that was used, for one input.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each image.")] = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print what every step changed.")] = False,
) -> None:
    """Write a sharper copy of each image: NAME-deblurred beside it, or where -o or --out-dir say.

    Size, bit depth, alpha, EXIF, XMP and colour profile are kept, and a JPEG is saved no coarser than it was. It
    removes motion blur, not defocus.
    """
    # numpy, when it is imported, asks Linux for huge pages, which are dear to come by in memory that lay idle: large
    # photos take 2 to 13 % less time without (research/, 2026-11-30).
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    from golfdeblur import album
    from golfdeblur.cli import files
    from golfdeblur.cli.blurs import kernel_of
    from golfdeblur.engine.passes import check_strength
    from golfdeblur.files.image import LARGEST_PIXELS, STREAM, SUFFIXES
    from golfdeblur.files.names import FORMATS
    from golfdeblur.model import load

    check_strength(strength)
    if strokes and strength != 1:
        raise ConfigError("--strokes writes what each step made; leave it or --strength out.")
    most = max_pixels or LARGEST_PIXELS
    budget = None if max_memory is None else parse_size(max_memory)
    if strokes and self_ensemble:
        raise ConfigError("--self-ensemble writes the mean only; leave it or --strokes out.")
    if wanted not in FORMATS:
        raise ConfigError(f"--format '{wanted}' is unknown; use {', '.join(FORMATS)}.")
    if strokes and (recursive or STREAM in (output, *inputs)):
        raise ConfigError("--strokes is for single photos, whose names are given; leave it or -r out.")
    taken_out = kernel_of(kernel=kernel, motion=motion, disc=disc, light=light)
    told = taken_out is not None or blur == "shake"
    if told and (self_ensemble or not steps):
        raise ConfigError("A deconvolution needs --steps 1 or more and no --self-ensemble; leave one of them out.")
    if taken_out is not None and blur == "scene":
        raise ConfigError("--blur scene takes no kernel out; leave it, or --kernel, --motion and --disc out.")
    if save_kernel is not None and (blur == "scene" or len(inputs) != 1 or recursive):
        raise ConfigError("--save-kernel is for one input whose kernel is read or given; leave it out.")
    how = files.How(
        steps,
        blur=blur,
        kernel=taken_out,
        light=light,
        save_kernel=save_kernel,
        self_ensemble=self_ensemble,
        strength=strength,
        with_strokes=strokes,
        keep_sharp=keep_sharp,
        force=force,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        kind=SUFFIXES.get(str(FORMATS[wanted])),
    )
    if recursive:
        found = files.folder_of(inputs, output, out_dir, wanted)
        loaded = load(model, runtime=runtime, max_memory=budget, max_pixels=most)
        how.deconvolution(loaded)  # refuses before the first photo
        settings = album.determines(
            loaded,
            steps,
            self_ensemble=self_ensemble,
            strength=strength,
            keep_sharp=keep_sharp,
            blur=how.blur_settings,
            int8=runtime.endswith("int8"),
        )
        files.deblur_folder(loaded, found, album.Manifest(cast(Path, out_dir), settings), how)
        return
    targets = files.targets_of(inputs, output, out_dir, wanted)
    if strokes:
        files.check_strokes(inputs, targets, steps)
    loaded = load(model, runtime=runtime, max_memory=budget, max_pixels=most)
    failed = 0
    jobs = zip(inputs, targets, files.readers(loaded, inputs), strict=True)
    for source, target, read in progress(jobs, len(inputs), "Deblurring", quiet=quiet or as_json):
        try:
            report = files.deblur_file(loaded, source, read, target, how)
        except Exception as error:
            if len(inputs) == 1 and isinstance(error, GolfError):
                raise
            if len(inputs) == 1:
                raise GolfError(files.failure(source, error)) from error
            failed += 1
            print(f"golf: {files.failure(source, error)}", file=sys.stderr)
            continue
        how.say({"input": str(source), **report})
    if failed:
        raise GolfError(f"{failed} of {len(inputs)} images failed, as named above; the others are done.")
