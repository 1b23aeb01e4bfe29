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
    app,
    progress,
)
from golfdeblur.engine.budget import parse_size
from golfdeblur.errors import ConfigError, GolfError
from golfdeblur.golf import STEPS


@app.command("deblur")
def deblur_command(
    inputs: Annotated[list[Path], typer.Argument(help="Blurry image files; or one folder, with -r and --out-dir.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The result's file, for one input.")] = None,
    out_dir: Annotated[Path | None, typer.Option("--out-dir", help="A folder for the results, made if needed.")] = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", help="Deblur a whole folder; again, it does what is missing or changed."),
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    self_ensemble: EnsembleOption = False,
    runtime: RuntimeOption = "auto",
    max_memory: MemoryOption = None,
    strokes: Annotated[
        bool, typer.Option("--strokes", help="Also write x0, x1, ... and a strip that shows them side by side.")
    ] = False,
    keep_sharp: Annotated[
        bool, typer.Option("--keep-sharp", help="Copy photos that are not blurred, or get no sharper, as they are.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each image.")] = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a sharper copy of each image: NAME-deblurred beside it, or where -o or --out-dir say.

    Size, bit depth, alpha, EXIF, XMP, colour profile and JPEG quality are kept. It removes motion blur, not defocus.
    """
    # numpy, when it is imported, asks Linux for huge pages, which are dear to come by in memory that lay idle: large
    # photos take 2 to 13 % less time without (docs/log.md, 2026-11-30).
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    from golfdeblur import album
    from golfdeblur.cli import files
    from golfdeblur.model import load

    budget = None if max_memory is None else parse_size(max_memory)
    if strokes and self_ensemble:
        raise ConfigError("--self-ensemble writes the mean only; leave it or --strokes out.")
    how = files.How(
        steps,
        self_ensemble=self_ensemble,
        with_strokes=strokes,
        keep_sharp=keep_sharp,
        force=force,
        as_json=as_json,
        quiet=quiet,
    )
    if recursive:
        found = files.find(inputs, output, out_dir)
        loaded = load(model, runtime=runtime, max_memory=budget)
        settings = album.settings(
            loaded, steps, self_ensemble=self_ensemble, keep_sharp=keep_sharp, int8=runtime.endswith("int8")
        )
        files.deblur_folder(loaded, found, album.Manifest(cast(Path, out_dir), settings), how)
        return
    targets = files.targets_of(inputs, output, out_dir)
    loaded = load(model, runtime=runtime, max_memory=budget)
    failed = 0
    jobs = zip(inputs, targets, files.readers(loaded, inputs), strict=True)
    for source, target, read in progress(jobs, len(inputs), "Deblurring", quiet=quiet or as_json):
        try:
            how.say({"input": str(source), **files.deblur_file(loaded, source, read, target, how)})
        except files.FAILURES as error:
            if len(inputs) == 1:
                raise
            failed += 1
            print(f"golf: {error}", file=sys.stderr)
    if failed:
        raise GolfError(f"{failed} of {len(inputs)} images failed, as named above; the others are done.")
