"""The command `golf`. Only this module prints and exits; every user's error becomes one sentence and exit code 1."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur import __version__, deblur, image, runtime
from golfdeblur.errors import ConfigError, GolfError, ImageError
from golfdeblur.strokes import STEPS, STOP_BELOW

app = typer.Typer(
    name="golf",
    help="Take the motion blur out of photographs, offline, with 2 MB of weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="An embedded model's name, or a model folder.")]
StepsOption = Annotated[int, typer.Option("--steps", "-n", help="At most this many corrections after the first step.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace outputs that exist already.")]


def main() -> None:
    """Run the command; errors of the user's making end in one sentence on stderr."""
    try:
        app()
    except GolfError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        _fail(f"{error.filename or 'The system'}: {error.strerror}; check the path and the free space.")
    except MemoryError:
        _fail("There is not enough memory for this picture; close other programs or reduce it.")


def _fail(sentence: str, *, code: int = 1) -> None:
    print(f"golf: {sentence}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"golfdeblur {__version__}")
        raise typer.Exit()


@app.command("deblur")
def deblur_command(
    inputs: Annotated[list[Path], typer.Argument(help="Blurry image files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The result's file, for one input.")] = None,
    out_dir: Annotated[Path | None, typer.Option("--out-dir", help="A folder for the results, made if needed.")] = None,
    model: ModelOption = deblur.DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    strokes: Annotated[
        bool, typer.Option("--strokes", help="Also write x0, x1, ... and a strip that shows them side by side.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each image.")] = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a sharper copy of each image: NAME-deblurred beside it, or where -o or --out-dir say.

    Size, bit depth, alpha, EXIF, colour profile and JPEG quality are kept. It removes motion blur, not defocus.
    """
    targets = _targets(inputs, output, out_dir)
    loaded = deblur.load(model)
    failed = 0
    for source, target in _progress(
        zip(inputs, targets, strict=True), len(inputs), "Deblurring", quiet=quiet or as_json
    ):
        try:
            report = _deblur_file(loaded, source, target, steps=steps, with_strokes=strokes, force=force)
        except (ImageError, OSError, MemoryError) as error:
            if len(inputs) == 1:
                raise
            failed += 1
            print(f"golf: {error}", file=sys.stderr)
            continue
        if as_json:
            print(json.dumps(report), flush=True)
        elif not quiet:
            print(_sentence(report), flush=True)
    if failed:
        raise GolfError(f"{failed} of {len(inputs)} images failed, as named above; the others are done.")


def _targets(inputs: list[Path], output: Path | None, out_dir: Path | None) -> list[Path]:
    if output is not None and out_dir is not None:
        raise ConfigError("Both -o and --out-dir are given; use -o for one file or --out-dir for many.")
    if output is not None:
        if len(inputs) != 1:
            raise ConfigError(f"-o names one file, but {len(inputs)} inputs are given; use --out-dir.")
        targets = [output]
    elif out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        targets = [out_dir / deblur.default_output(path).name.replace("-deblurred", "") for path in inputs]
    else:
        targets = [deblur.default_output(path) for path in inputs]
    seen: dict[Path, Path] = {}
    for source, target in zip(inputs, targets, strict=True):
        if target.resolve() == source.resolve():
            raise ConfigError(f"{source} would be replaced by its own result; give another name or folder.")
        if target in seen:
            raise ConfigError(f"{seen[target]} and {source} would both be written to {target}; deblur them apart.")
        seen[target] = source
    return targets


def _deblur_file(
    model: deblur.Model, source: Path, target: Path, *, steps: int, with_strokes: bool, force: bool
) -> dict[str, Any]:
    started = time.perf_counter()
    image.check_writable(target, force=force)
    stroke_files = [target.with_name(f"{target.stem}-x{i}{target.suffix}") for i in range(steps + 1)]
    strip = target.with_name(f"{target.stem}-strokes.png")
    if with_strokes:
        for path in (*stroke_files, strip):
            image.check_writable(path, force=force)
    picture = image.read(source)
    changes, made, settled = [], [], False
    for stroke in model.iterate(picture, steps=steps, stop_below=STOP_BELOW):
        last = deblur.with_stroke(picture, stroke)
        changes.append(255 * stroke.change)
        settled = stroke.settled
        if with_strokes:
            image.write(last, stroke_files[stroke.index], force=force)
            made.append(last)
    image.write(last, target, force=force)
    if with_strokes:
        image.write(deblur.strip(picture, made), strip, force=force)
    width, height = picture.size
    return {
        "input": str(source),
        "output": str(target),
        "width": width,
        "height": height,
        "model": model.weights.name,
        "corrections": len(changes) - 1,
        "settled": settled,
        "changes_grey_levels": [round(c, 4) for c in changes],
        "strip": str(strip) if with_strokes else None,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _sentence(report: dict[str, Any]) -> str:
    changes = ", ".join(f"{c:.2f}" for c in report["changes_grey_levels"])
    count = report["corrections"]
    words = f"1 step and {count} correction{'' if count == 1 else 's'}{' (settled)' if report['settled'] else ''}"
    line = f"{report['output']}  {words}, mean change {changes} of 255, {report['seconds']:.1f} s"
    if report["changes_grey_levels"][0] < 0.3:
        line += "\n  Hardly anything changed: the photo is sharp already, or its blur is not motion blur."
    return line


def _progress(items: Iterable[Any], total: int, label: str, *, quiet: bool) -> Iterator[Any]:
    """Yield the items, with a bar on a terminal; in a pipe the lines that are printed anyway are enough."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, label, total=total, console=Console(stderr=True))


@app.command()
def info(
    model: Annotated[
        str | None, typer.Argument(help="An embedded model's name or a model folder; all if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the models: parameters, size, sha256, training data and scores."""
    found = [runtime.find_weights(name) for name in ([model] if model else runtime.embedded_names())]
    if as_json:
        print(json.dumps([{**w.config, "folder": str(w.folder)} for w in found], indent=1))
        return
    for weights in found:
        _print_model(weights)


def _print_model(weights: runtime.Weights) -> None:
    config = weights.config
    entries = config["networks"]
    total = sum((weights.folder / entry["file"]).stat().st_size for entry in entries.values())
    default = " (default)" if weights.name == deblur.DEFAULT_MODEL else ""
    print(f"{weights.name}{default}: {total / 1e6:.2f} MB in {weights.folder}")
    for letter, entry in entries.items():
        role = "propagator" if letter == "F" else "corrector"
        reach = "the whole image" if (px := entry["receptive_field_px"]) is None else f"{px} px around a pixel"
        print(f"  {letter} ({role}): {entry['parameters']:,} parameters, sees {reach}")
        print(f"    sha256 {entry['sha256']}")
    if data := config.get("data"):
        print(f"  Trained on: {data}")
    for name, row in config.get("scores", {}).items():
        gain = row["psnr"] - row["input_psnr"]
        print(f"  {name}: {row['psnr']:.2f} dB, input {row['input_psnr']:.2f} dB ({gain:+.2f}), {row['images']} images")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder with blur/ and sharp/, images of the same names in both.")],
    model: ModelOption = deblur.DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.")] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on pairs: PSNR and SSIM by three named protocols, with the blurry input's beside them."""
    from golfdeblur import evaluate as evaluation

    if json_file is not None and json_file.exists() and not force:
        raise ConfigError(f"{json_file} exists already; use --force to replace it, or give another name.")
    count = len(evaluation.find_pairs(folder))
    loaded, rows = deblur.load(model), list[evaluation.Row]()
    produced = evaluation.evaluate(folder, lambda y: loaded(y, steps=steps))
    for row in _progress(produced, count, "Evaluating", quiet=quiet):
        rows.append(row)
        if not quiet and not sys.stdout.isatty():
            print(_score_line(row.name, row.output, row.blurry), flush=True)
    result = evaluation.as_json(rows, model=loaded.weights.name, steps=steps, data=folder.resolve().name)
    if json_file is not None:
        _write_text(json_file, json.dumps(result, indent=1) + "\n")
    if not quiet:
        if sys.stdout.isatty():
            _print_table(rows, evaluation.mean)
        else:
            means = evaluation.mean([r.output for r in rows]), evaluation.mean([r.blurry for r in rows])
            print(_score_line(f"mean of {len(rows)}", *means))


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

    try:
        made = evaluation.markdown_table([json.loads(file.read_text()) for file in files])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"The results cannot be read ({error}); give files that golf evaluate --json wrote."
        ) from error
    if into is None:
        print(made, end="")
        return
    before, begin, rest = into.read_text().partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ConfigError(
            f"{into} lacks the lines {TABLE_BEGIN.strip()} and {TABLE_END}; add them where the table goes."
        )
    _write_text(into, before + begin + made + end + after)


def _read_result(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(file.read_text())
        missing = {"data", "model", "steps", "images", "mean", "input_mean"} - result.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); give a file that golf evaluate --json wrote.") from error
    if missing:
        raise ConfigError(f"{file} lacks {', '.join(sorted(missing))}; give a file that golf evaluate --json wrote.")
    return result


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


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; recipes/ holds those of the embedded weights.")],
    data: Annotated[list[str], typer.Option("--data", help="NAME=PATH of a source of the recipe.")],
    out: Annotated[Path, typer.Option("--out", help="The run's folder; the same command again resumes it.")],
    validation: Annotated[
        list[str] | None, typer.Option("--validation", help="NAME=PATH of a folder of real pairs to judge by.")
    ] = None,
    propagator: Annotated[Path | None, typer.Option(help="The trained F.safetensors, for a recipe of stage g.")] = None,
    max_minutes: Annotated[float, typer.Option(help="End with a checkpoint after this time.")] = float("inf"),
) -> None:
    """Train F or G from your own photographs (needs the extra `train`)."""
    training = _learning("train")
    config = training.read_recipe(recipe)
    path = training.train(
        config,
        _named_paths(data),
        out,
        validation=_named_paths(validation or []),
        propagator=propagator,
        max_minutes=max_minutes,
        report=lambda row: print(_training_line(row), flush=True),
    )
    print(f"Trained: {path}")


def _learning(name: str) -> Any:
    """Import golfdeblur.learning.NAME, or say which extra it needs."""
    try:
        if name == "train":
            from golfdeblur.learning import train as module
        else:
            from golfdeblur.learning import export as module  # type: ignore[no-redef]
    except ImportError as error:
        raise ConfigError(f"Training needs {error.name}; pip install 'golfdeblur[train]'.") from error
    return module


def _named_paths(given: list[str]) -> dict[str, Path]:
    paths = {}
    for entry in given:
        name, sign, path = entry.partition("=")
        if not sign or not name or not path:
            raise ConfigError(f"'{entry}' is not NAME=PATH; write for example photos=/data/photos.")
        if not Path(path).exists():
            raise ConfigError(f"{path}, given for {name}, does not exist; check the path.")
        paths[name] = Path(path)
    return paths


def _training_line(row: dict[str, Any]) -> str:
    scores = "  ".join(f"{name} " + " ".join(f"{v:.2f}" for v in values) for name, values in row["psnr_db"].items())
    return (
        f"step {row['step']}  {row['minutes']:.1f} min  loss {row['loss']:.4f}  lr {row['lr']:.1e}  "
        f"{row['mpx_per_s']:.2f} Mpx/s  waiting {row['waiting']:.0%}  PSNR of input, x0, ...: {scores}"
    )


@app.command("export")
def export_command(
    f: Annotated[Path, typer.Argument(help="The trained F.safetensors.")],
    g: Annotated[Path, typer.Argument(help="The trained G.safetensors.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to write.")],
    name: Annotated[str, typer.Option(help="The model's name.")] = "custom",
    trained_on: Annotated[str, typer.Option(help="What golf info says of the training data.")] = "",
    scores: Annotated[
        list[Path] | None, typer.Option(help="Files of golf evaluate --json, for golf info to show.")
    ] = None,
) -> None:
    """Turn trained F and G into a model folder for --model (needs the extra `train`)."""
    extra: dict[str, Any] = {"data": trained_on, "scores": {}}
    for file in scores or []:
        result = _read_result(file)
        shown = {"psnr": result["mean"]["psnr"], "input_psnr": result["input_mean"]["psnr"]}
        extra["scores"][result["data"]] = {**shown, "images": len(result["images"]), "steps": result["steps"]}
    config = _learning("export").export(f, g, out, name=name, notes=extra)
    parity = min(entry["parity_db"] for entry in config["networks"].values())
    print(f"{out}: F and G as ONNX, agreeing with torch to {parity:.0f} dB.")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
