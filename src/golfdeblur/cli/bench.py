"""`golf bench`: how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur import DEFAULT_MODEL, __version__, machine, offline
from golfdeblur.cli.app import (
    ForceOption,
    StepsOption,
    ThreadsOption,
    app,
    check_new,
    default_command,
    needs_extra,
    write_text,
)
from golfdeblur.errors import ConfigError
from golfdeblur.golf import STEPS

bench_app = typer.Typer(cls=default_command("speed", needs_arguments=False), help="Measure speed on this machine.")
app.add_typer(bench_app, name="bench")


@bench_app.command("speed")
def bench_speed(
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="A model; may be repeated.")] = None,
    runtime: Annotated[list[str] | None, typer.Option("--runtime", help="A runtime; may be repeated.")] = None,
    size: Annotated[list[str] | None, typer.Option("--size", help="WIDTHxHEIGHT; may be repeated.")] = None,
    steps: StepsOption = STEPS,
    threads: ThreadsOption = None,
    repeats: Annotated[int, typer.Option(min=1, help="Fewest runs of each.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw time against size (PNG or SVG).")] = None,
    against: Annotated[
        str | None, typer.Option(help="Time this command in turn with golf deblur; {input} and {output} are files.")
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="The photo for --against.")] = None,
    force: ForceOption = False,
) -> None:
    """Measure time (min, median, max), peak memory, and the share of the machine's matrix-product speed."""
    from golfdeblur import bench

    for path in (json_file, plot_file):
        if path is not None:
            check_new(path, force=force)
    if plot_file is not None:
        if plot_file.suffix.lower() not in (".png", ".svg"):
            raise ConfigError(f"{plot_file} must end in .png or .svg; give such a name.")
        with needs_extra("train"):
            offline.matplotlib()
    result: dict[str, Any] = {"version": __version__, "machine": machine.processor()}
    if against is not None:
        if photo is None:
            raise ConfigError("--against needs a photo; give one by --photo.")
        result["against"] = bench.compare(against, photo, model=(model or [DEFAULT_MODEL])[0], repeats=repeats)
        print(_comparison(result["against"]))
    else:
        sizes = [_size(text) for text in size] if size else list(bench.SIZES)
        cases = [
            bench.Case(m, r, s, steps, repeats)
            for m in model or [DEFAULT_MODEL]
            for r in runtime or ["auto"]
            for s in sizes
        ]
        print(f"{result['machine']}; rows to measure: {len(cases)}", flush=True)
        result["rows"] = _measured(bench.measure_all(cases), widest=max(len(case.model) for case in cases))
    if json_file is not None:
        write_text(json_file, json.dumps(result, indent=1) + "\n")
    if plot_file is not None and "rows" in result:
        bench.plot(result["rows"], plot_file)


def _measured(rows: Any, *, widest: int) -> list[dict[str, Any]]:
    """Print every row as it comes; `widest` is the number of characters of the longest model's name."""
    column = max(widest, len("model"))
    found: list[dict[str, Any]] = []
    for row in rows:
        if not found:
            print(f"{'model':{column}} {'runtime':16} {'size':>11} {'min':>8} {'median':>8} {'max':>8} {'s/Mpx':>6} "
                  f"{'peak MiB':>9} {'GMAC':>7} {'GFLOP/s':>8} {'of peak':>7}")  # fmt: skip
        s = row["seconds"]
        work = "" if row["gmac"] is None else f"{row['gmac']:7.1f} {row['gflops']:8.0f} {row['peak_share']:7.0%}"
        name = f"{row['width']}x{row['height']}"
        print(f"{row['model']:{column}} {row['runtime']:16} {name:>11} {s['min']:8.3f} {s['median']:8.3f} "
              f"{s['max']:8.3f} {row['seconds_per_mpx']:6.2f} {row['peak_mib']:9.0f} {work}", flush=True)  # fmt: skip
        found.append(row)
    return found


def _comparison(found: dict[str, Any]) -> str:
    golf, other = (found["seconds"][name]["median"] for name in ("golf", "other"))
    return (
        f"golf deblur {golf:.2f} s, the other command {other:.2f} s (medians): {found['times_faster']:.1f} times faster"
    )


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"'{text}' is no size; write for example 1280x720.")
    return int(width), int(height)


@bench_app.command("train")
def bench_train(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose network, batch and blur are timed.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each figure is measured.")] = 10.0,
    compiled: Annotated[bool, typer.Option(help="Also time torch.compile, which takes minutes to start.")] = True,
) -> None:
    """Print megapixels a second of the bare training step and of the whole loop, with their ratio."""
    with needs_extra("train"):
        from golfdeblur.learning.recipe import find_recipe, read_recipe
        from golfdeblur.learning.speed import training_speeds
    config = read_recipe(find_recipe(recipe))
    print(f"{'precision':10} {'mode':9} {'memory':14} {'step Mpx/s':>10} {'loop Mpx/s':>10} {'loop/step':>9}")
    for speed in training_speeds(config, seconds=seconds, compiled=compiled):
        figures = f"{speed.step_mpx_per_s:10.2f} {speed.loop_mpx_per_s:10.2f} {speed.share:9.2f}"
        print(f"{speed.precision:10} {speed.mode:9} {speed.layout:14} {figures}", flush=True)
