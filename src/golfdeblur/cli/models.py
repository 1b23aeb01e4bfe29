"""`golf info` and `golf export`: what a model folder holds, and how one is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import ForceOption, app, check_new, needs_extra, read_result, write_bytes
from golfdeblur.errors import ConfigError
from golfdeblur.golf import STEPS

if TYPE_CHECKING:
    from golfdeblur.weights import Weights


@app.command()
def info(
    model: Annotated[
        str | None, typer.Argument(help="An embedded model's name or a model folder; all if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure, a second each, whether runtimes of fewer bits are faster here.")
    ] = False,
) -> None:
    """Show the models: parameters, size, sha256, training data and scores."""
    from golfdeblur import bench, machine, runtimes
    from golfdeblur.weights import embedded_names, find_weights

    found = [find_weights(name) for name in ([model] if model else embedded_names())]
    if as_json:
        print(json.dumps([{**w.config(), "folder": str(w.folder)} for w in found], indent=1))
        return
    for weights in found:
        _print_model(weights)
    installed = runtimes.available()
    print("Runtimes (--runtime):")
    for name, meaning in runtimes.RUNTIMES.items():
        here = f"here {runtimes.resolve(name)}" if name == "auto" else "installed" if name in installed else ""
        if speed and name in installed and name in runtimes.REDUCED:
            ratio = bench.gain(name)
            here += f", {ratio:.1f} times as fast as in float32: {'it gains' if ratio > 1.1 else 'no gain'} here"
        print(f"  {name:16} {meaning}{f'; {here}' if here else ''}", flush=True)
    print(f"Processor: {machine.processor()}")


def _print_model(weights: Weights) -> None:
    total = sum(file.path.stat().st_size for file in weights.networks.values())
    default = " (default)" if weights.name == DEFAULT_MODEL else ""
    print(f"{weights.name}{default}: {total / 1e6:.2f} MB in {weights.folder}")
    for letter, file in weights.networks.items():
        role = "propagator" if letter == "F" else "corrector"
        reach = "the whole image" if (px := file.receptive_field_px) is None else f"{px} px around a pixel"
        scales = f" at {file.scales} scales" if file.scales > 1 else ""
        print(f"  {letter} ({role}): {file.parameters:,} parameters, sees {reach}{scales}")
        print(f"    sha256 {file.sha256}")
    if weights.data:
        print(f"  Trained on: {weights.data}")
    for name, score in weights.scores.items():
        psnr, before = score.psnr, score.input_psnr
        gain = "" if psnr is None or before is None else f" ({psnr - before:+.2f})"
        print(f"  {name}: {_decibels(psnr)}, input {_decibels(before)}{gain}, {score.images} images")


def _decibels(psnr: float | None) -> str:
    return "equal to the sharp" if psnr is None else f"{psnr:.2f} dB"


def _export_whole(model: list[Path], file: Path, *, steps: int, strength: float | None, force: bool) -> None:
    """Write a whole model as one file: .onnx, .dtmodel or .safetensors."""
    if len(model) != 1:
        raise ConfigError(f"One file takes one model, {len(model)} are given; give a name or a folder.")
    from golfdeblur.weights import find_weights

    check_new(file, force=force)
    weights = find_weights(model[0])
    if file.suffix == ".safetensors":
        if strength is not None:
            raise ConfigError("--strength is for --single and --darktable; leave it out for --spandrel.")
        with needs_extra("train"):
            from golfdeblur.bridges.whole import to_tensors
        content = to_tensors(weights, steps=steps)
    else:
        with needs_extra("onnx"):
            from golfdeblur.bridges.darktable import to_dtmodel
            from golfdeblur.bridges.single import to_single
        if file.suffix == ".dtmodel":
            content = to_dtmodel(weights, steps=steps, strength=1.0 if strength is None else strength)
        else:
            content = to_single(weights, steps=steps, strength=strength)
    write_bytes(file, content)
    print(f"{file}: {weights.name}, at most {steps} corrections, in one file.")


@app.command("export")
def export_command(
    run: Annotated[
        list[Path],
        typer.Argument(help="A run's folder, stopped or not, or F.safetensors G.safetensors; for one file a model."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The model folder to write.")] = None,
    name: Annotated[str, typer.Option(help="The model's name.")] = "custom",
    trained_on: Annotated[str, typer.Option(help="What golf info says of the training data.")] = "",
    scores: Annotated[
        list[Path] | None, typer.Option(help="Files of golf evaluate --json, for golf info to show.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="A folder of blurry photos: makes 8-bit networks too, for --runtime onnxruntime-int8."),
    ] = None,
    single: Annotated[
        Path | None, typer.Option(help="Write the whole model as one .onnx for other programs (extra `onnx`).")
    ] = None,
    darktable: Annotated[
        Path | None, typer.Option(help="Write the whole model as a .dtmodel for darktable 5.6 (extra `onnx`).")
    ] = None,
    spandrel: Annotated[
        Path | None, typer.Option(help="Write the whole model as .safetensors for spandrel (extra `train`).")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", "-n", help="In one file: at most this many corrections.")] = STEPS,
    strength: Annotated[
        float | None,
        typer.Option(help="In one file: fixed, 0 to 1. With --single it is a second input if left out."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Turn trained F and G, or F alone, into a model folder for --model (needs the extra `train`).

    With --single, --darktable or --spandrel a model becomes one file instead, with all sizes and strokes inside.
    """
    one_file = ((single, ".onnx"), (darktable, ".dtmodel"), (spandrel, ".safetensors"))
    for file, suffix in one_file:
        if file is not None and file.suffix != suffix:
            raise ConfigError(f"{file} must end in {suffix}; give such a name.")
        if file is not None:
            _export_whole(run, file, steps=steps, strength=strength, force=force)
    if out is None:
        if not any(file for file, _ in one_file):
            raise ConfigError("Nothing to write is named; give -o FOLDER, or --single FILE.onnx for one file.")
        return
    with needs_extra("train"):
        from golfdeblur.learning import export
    extra: dict[str, Any] = {"data": trained_on, "scores": {}}
    for file in scores or []:
        result = read_result(file)
        shown = {"psnr": result["mean"]["psnr"], "input_psnr": result["input_mean"]["psnr"]}
        extra["scores"][result["data"]] = {**shown, "images": len(result["images"]), "steps": result["steps"]}
    f, g = export.find_networks(run, notice=print)
    if out.is_dir():
        check_new(out / "config.json", force=force)
    config = export.export(f, g, out, name=name, notes=extra, calibration=calibrate)
    parity = min(entry["parity_db"] for entry in config["networks"].values())
    print(f"{out}: {' and '.join(config['networks'])} as ONNX, agreeing with torch to {parity:.0f} dB.")
