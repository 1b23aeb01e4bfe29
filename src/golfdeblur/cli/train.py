"""`golf train RECIPE`: F and G from your own photographs; `golf train plot` draws the curves of runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur.cli.app import ForceOption, app, check_new, default_command, needs_extra
from golfdeblur.errors import ConfigError

SetOption = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE replaces the recipe's, also TABLE.KEY.")]
PropagatorOption = Annotated[
    Path | None, typer.Option("--propagator", help="The trained F.safetensors, for a recipe of stage g.")
]
FeaturesOption = Annotated[
    str | None,
    typer.Option("--features", help="Weights of the perceptual loss's network; 'download' fetches VGG-11-BN (507 MB)."),
]


train_app = typer.Typer(
    cls=default_command("run", needs_arguments=True),
    no_args_is_help=True,
    help="Train F or G: golf train RECIPE.toml --help.",
)
app.add_typer(train_app, name="train")


@train_app.command("run")
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; recipes/ holds those of the embedded weights.")],
    data: Annotated[list[str], typer.Option("--data", help="NAME=PATH of a source of the recipe.")],
    out: Annotated[Path, typer.Option("--out", help="The run's folder; the same command again resumes it.")],
    settings: SetOption = None,
    validation: Annotated[
        list[str] | None, typer.Option("--validation", help="NAME=PATH of a folder of real pairs to judge by.")
    ] = None,
    propagator: PropagatorOption = None,
    initial: Annotated[
        Path | None, typer.Option("--initial", help="First weights of the network itself, to fine-tune them.")
    ] = None,
    features: FeaturesOption = None,
    max_minutes: Annotated[float, typer.Option(help="End with a checkpoint after this time.")] = float("inf"),
    tensorboard: Annotated[bool, typer.Option(help="Also log to OUT/tensorboard (extra `tensorboard`).")] = False,
) -> None:
    """Train F or G (needs the extra `train`). The same command again resumes, after whatever stopped it."""
    with needs_extra("train"):
        from golfdeblur.learning.config import read_recipe
        from golfdeblur.learning.objective import Inputs
        from golfdeblur.learning.train import train as run
    config = read_recipe(recipe, settings)
    inputs = Inputs(
        named_paths(data),
        validation=named_paths(validation or []),
        propagator=propagator,
        initial=initial,
        features=_features(features),
    )
    writers: list[Any] = [_lines]
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate or torchrun started
    if tensorboard and first:
        writers.append(_tensorboard(out / "tensorboard"))
    with _process_group_left():
        if sys.stderr.isatty() and first:
            with _Live(config.steps) as live:
                path = run(config, inputs, out, max_minutes=max_minutes, report=_all_of([live.show, *writers[1:]]))
        else:
            path = run(config, inputs, out, max_minutes=max_minutes, report=_all_of(writers))
    if path is not None:
        print(f"Trained: {path}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _end_at_once()


@train_app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("curves.png"),
    force: ForceOption = False,
) -> None:
    """Draw the loss and the validation gain of several runs into one PNG."""
    with needs_extra("train"):
        from golfdeblur.learning.plot import plot_runs
    check_new(output, force=force)
    plot_runs(runs, output)
    print(f"{output}")


def named_paths(given: list[str]) -> dict[str, Path]:
    """Read NAME=PATH options. Raises ConfigError for other forms, repeated names and missing paths."""
    paths: dict[str, Path] = {}
    for entry in given:
        name, sign, path = entry.partition("=")
        if not sign or not name or not path:
            raise ConfigError(f"'{entry}' is not NAME=PATH; write for example photos=/data/photos.")
        if not Path(path).exists():
            raise ConfigError(f"{path}, given for {name}, does not exist; check the path.")
        if name in paths:
            raise ConfigError(f"{name} is given twice, as {paths[name]} and {path}; name each source once.")
        paths[name] = Path(path)
    return paths


def _end_at_once() -> None:
    """End a process of a group without the destructors of gloo's threads, which abort it now and then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.contextmanager
def _process_group_left() -> Iterator[None]:
    """Leave the group of processes in the end: one that exits while gloo's threads run is aborted, one time in five."""
    try:
        yield
    finally:
        import torch.distributed

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _features(given: str | None) -> Path | None:
    if given != "download":
        return None if given is None else Path(given)
    from golfdeblur.learning import perceptual

    return perceptual.downloaded_vgg11()


def _all_of(reports: list[Any]) -> Any:
    def report(row: dict[str, Any]) -> None:
        for one in reports:
            one(row)

    return report


def _lines(row: dict[str, Any]) -> None:
    """Print a row as one plain line."""
    print(row["notice"] if "notice" in row else f"step {row['step']}  {_words(row)}", flush=True)


def _words(row: dict[str, Any]) -> str:
    if "psnr_db" in row:
        sets = (f"{name} " + " ".join(f"{v:.2f}" for v in values) for name, values in row["psnr_db"].items())
        return "PSNR in dB of input, x0, ...: " + "; ".join(sets)
    terms = " + ".join(f"{value:.4f} {name}" for name, value in row["terms"].items())
    return (
        f"{row['minutes']:.1f} min  loss {terms}  lr {row['lr']:.1e}  {row['mpx_per_s']:.2f} Mpx/s  "
        f"waiting {row['waiting']:.0%}"
    )


class _Live:
    """A bar that shows step, loss, learning rate, speed and the time left; validations scroll above it."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = [TextColumn("{task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}")]
        times = [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True)]
        self.bar = Progress(*columns, *times, console=Console(stderr=True))
        self.task = self.bar.add_task("starting", total=steps)

    def __enter__(self) -> _Live:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def show(self, row: dict[str, Any]) -> None:
        if "notice" in row:
            self.bar.console.print(row["notice"])
        elif "psnr_db" in row:
            self.bar.console.print(f"step {row['step']}  {_words(row)}")
        else:
            text = f"loss {row['loss']:.4f}  lr {row['lr']:.1e}  {row['mpx_per_s']:.2f} Mpx/s"
            self.bar.update(self.task, completed=row["step"], description=text)


def _tensorboard(folder: Path) -> Any:
    with needs_extra("tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(str(folder))

    def report(row: dict[str, Any]) -> None:
        if "terms" in row:
            values = {"loss": row["loss"], "lr": row["lr"], **{f"loss/{k}": v for k, v in row["terms"].items()}}
        else:
            sets = row.get("psnr_db", {})
            values = {f"psnr_db/{name}/x{i - 1}": v for name, vs in sets.items() for i, v in enumerate(vs) if i}
        for name, value in values.items():
            writer.add_scalar(name, value, row["step"])
        writer.flush()

    return report
