"""`golf bench`: how fast this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfdeblur.cli.app import app, needs_extra

bench_app = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.")
app.add_typer(bench_app, name="bench")


@bench_app.command("train")
def bench_train(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose network, batch and blur are timed.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each figure is measured.")] = 10.0,
    compiled: Annotated[bool, typer.Option(help="Also time torch.compile, which takes minutes to start.")] = True,
) -> None:
    """Print megapixels a second of the bare training step and of the whole loop, with their ratio."""
    with needs_extra("train"):
        from golfdeblur.learning.bench import bench_training
        from golfdeblur.learning.config import read_recipe
    config = read_recipe(recipe)
    print(f"{'precision':10} {'mode':9} {'memory':14} {'step Mpx/s':>10} {'loop Mpx/s':>10} {'loop/step':>9}")
    for speed in bench_training(config, seconds=seconds, compiled=compiled):
        figures = f"{speed.step_mpx_per_s:10.2f} {speed.loop_mpx_per_s:10.2f} {speed.share:9.2f}"
        print(f"{speed.precision:10} {speed.mode:9} {speed.layout:14} {figures}", flush=True)
