"""`golf evaluate` and `golf table`: scores of a model on pairs, and tables of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import (
    EnsembleOption,
    ForceOption,
    ModelOption,
    QuietOption,
    RuntimeOption,
    StepsOption,
    ThreadsOption,
    app,
    check_new,
    needs_extra,
    progress,
    read_result,
    write_text,
)
from golfdeblur.errors import ConfigError
from golfdeblur.golf import STEPS


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder with blur/ and sharp/, images of the same names in both.")],
    model: ModelOption = DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    self_ensemble: EnsembleOption = False,
    blur: Annotated[str, typer.Option(help="scene, shake or auto, as in `golf deblur`.")] = "auto",
    method: Annotated[
        str | None,
        typer.Option(
            help="Measure another method in the model's place: l0, dark-channel or normalised-sparsity; or, with the "
            "true kernels in kernel/, wiener, richardson-lucy, tv or hyper-laplacian (needs the extra `train`)."
        ),
    ] = None,
    best_shift: Annotated[
        int,
        typer.Option(
            metavar="PX",
            min=0,
            max=64,
            help="Compare every image where it lies nearest to the sharp one, moved by at most PX pixels (a blur does "
            "not tell where the camera stood); a border of PX pixels is left out.",
        ),
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    threads: ThreadsOption = None,
    runtime: RuntimeOption = "auto",
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on pairs: PSNR and SSIM by three named protocols, with the blurry input's beside them."""
    from golfdeblur import evaluate as evaluation
    from golfdeblur.files import image
    from golfdeblur.model import load

    if json_file is not None:
        check_new(json_file, force=force)
    count = len(image.find_pairs(folder))
    if method is not None:
        name, steps, self_ensemble, used, told = method, 0, False, "numpy", _rival(method)
    else:
        loaded = load(model, runtime=runtime)
        name, used = loaded.weights.name, loaded.runtime
        told = {"method": lambda y: loaded.deblur(y, blur=blur, steps=steps, self_ensemble=self_ensemble)}
        loaded.deconvolution(blur)  # refuses before the first pair
    rows = list[evaluation.Row]()
    produced = evaluation.evaluate(folder, **told, best_shift_px=best_shift)
    for row in progress(produced, count, "Evaluating", quiet=quiet):
        rows.append(row)
        if not quiet and not sys.stdout.isatty():
            print(_score_line(row.name, row.output, row.blurry), flush=True)
    result = evaluation.as_json(
        rows,
        model=name,
        steps=steps,
        data=folder.resolve().name,
        runtime=used,
        self_ensemble=self_ensemble,
        blur=blur,
        best_shift_px=best_shift,
    )
    if json_file is not None:
        write_text(json_file, json.dumps(result, indent=1) + "\n")
    if not quiet:
        if sys.stdout.isatty():
            _print_table(rows, evaluation.mean)
        else:
            means = evaluation.mean([r.output for r in rows]), evaluation.mean([r.blurry for r in rows])
            print(_score_line(f"mean of {len(rows)}", *means))


def _rival(name: str) -> dict[str, Any]:
    """Return the argument of `evaluate.evaluate` that stands for a rival. Raises ConfigError."""
    with needs_extra("train"):
        from golfdeblur.experiments import rivals

    if name in rivals.BLIND:
        return {"method": lambda pixels: rivals.blind(pixels, name)}
    if name in rivals.KNOWN:
        return {"informed": lambda pixels, kernel: rivals.known(pixels, name, kernel)}
    raise ConfigError(f"Method '{name}' is unknown; use {', '.join([*rivals.BLIND, *rivals.KNOWN])}.")


TABLE_BEGIN, TABLE_END = "<!-- golf table: begin -->\n", "<!-- golf table: end -->"


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(help="JSON files that golf evaluate wrote.")],
    into: Annotated[
        Path | None, typer.Option(help=f"Put it between the lines {TABLE_BEGIN.strip()} and {TABLE_END} of this file.")
    ] = None,
) -> None:
    """Make a Markdown table of measured results: print it, or put it into a document."""
    from golfdeblur import evaluate as evaluation

    results = [read_result(file) for file in files]
    try:
        made = evaluation.markdown_table(results)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The results cannot be understood ({error}); give files that golf evaluate --json wrote."
        ) from error
    if into is None:
        print(made, end="")
        return
    try:
        before, begin, rest = into.read_text(encoding="utf-8").partition(TABLE_BEGIN)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{into} cannot be read ({error}); give a Markdown file.") from error
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ConfigError(
            f"{into} lacks the lines {TABLE_BEGIN.strip()} and {TABLE_END}; add them where the table goes."
        )
    write_text(into, before + begin + made + end + after)


def _score_line(name: str, output: Any, blurry: Any) -> str:
    ssim = " ".join(f"{p} {v:.4f} ({blurry.ssim[p]:.4f})" for p, v in output.ssim.items())
    return f"{name}  PSNR {output.psnr:.2f} dB (input {blurry.psnr:.2f})  SSIM (input): {ssim}"


def _print_table(rows: list[Any], mean: Callable[[list[Any]], Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Output, and the blurry input in brackets")
    table.add_column("image")
    table.add_column("PSNR dB", justify="right")
    for protocol in rows[0].output.ssim:
        table.add_column(f"SSIM {protocol}", justify="right")
    means = (f"mean of {len(rows)}", mean([r.output for r in rows]), mean([r.blurry for r in rows]))
    for name, output, blurry in [*((r.name, r.output, r.blurry) for r in rows), means]:
        cells = [f"{v:.4f} ({blurry.ssim[p]:.4f})" for p, v in output.ssim.items()]
        table.add_row(name, f"{output.psnr:.2f} ({blurry.psnr:.2f})", *cells)
    Console().print(table)
