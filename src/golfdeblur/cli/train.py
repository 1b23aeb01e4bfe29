"""`golf train RECIPE`: F and G from your own photographs; `golf train plot` draws the curves of runs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur.cli.app import ForceOption, ThreadsOption, app, check_new, default_command, needs_extra
from golfdeblur.errors import ConfigError

SetOption = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE replaces the recipe's, also TABLE.KEY.")]
PropagatorOption = Annotated[
    Path | None, typer.Option("--propagator", help="The trained F.safetensors, for a recipe of stage g.")
]
FeaturesOption = Annotated[
    str | None,
    typer.Option("--features", help="Weights of the perceptual loss's network; 'download' fetches VGG-11-BN (507 MB)."),
]


SILENCE_S = 3.0
"""After so long without a word a run says where it is."""

train_app = typer.Typer(
    cls=default_command("run", needs_arguments=True),
    no_args_is_help=True,
    help="Train F or G: golf train RECIPE --help.",
)
app.add_typer(train_app, name="train")


@train_app.command("run")
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe's name, such as tiny-cpu, or a TOML file.")],
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
    threads: ThreadsOption = None,
    max_minutes: Annotated[float, typer.Option(help="End with a checkpoint after this time.")] = float("inf"),
    tensorboard: Annotated[bool, typer.Option(help="Also log to OUT/tensorboard (extra `tensorboard`).")] = False,
) -> None:
    """Train F or G (needs the extra `train`). The same command again resumes, after whatever stopped it."""
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate or torchrun started
    if first:
        print(f"Starting torch and reading {recipe}.", flush=True)
    with needs_extra("train"):
        from golfdeblur.learning.objective import Inputs
        from golfdeblur.learning.recipe import find_recipe, read_recipe
        from golfdeblur.learning.train import train as run
    config = read_recipe(find_recipe(recipe), settings)
    if first:
        print(f"{config.steps} steps for stage {config.stage} of model {config.model}. Reading the data.", flush=True)
    inputs = Inputs(
        named_paths(data),
        validation=named_paths(validation or []),
        propagator=propagator,
        initial=initial,
        features=_features(features),
    )
    shown: _Live | _Lines = _Live(config.steps) if sys.stderr.isatty() and first else _Lines(config.steps)
    writers: list[Any] = [shown.show]
    if tensorboard and first:
        writers.append(_tensorboard(out / "tensorboard"))
    with _process_group_left(), shown:
        report = _all_of(writers)
        path = run(config, inputs, out, max_minutes=max_minutes, report=report, progress=shown.progress)
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


class _Lines:
    """Plain lines: every row, and where nothing has been said for a while the step and the time that is left."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.silence_s = SILENCE_S
        self.spoke = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left to do."""

    def show(self, row: dict[str, Any]) -> None:
        """Print a row as one plain line."""
        self._say(row["notice"] if "notice" in row else f"step {row['step']}  {_words(row)}")

    def progress(self, step: int, seconds_left: float) -> None:
        """Say how far the run is, soon after its start and then more and more rarely."""
        if time.monotonic() - self.spoke > self.silence_s:
            self._say(f"step {step} of {self.steps}, about {_duration(seconds_left)} left")
            self.silence_s *= 2

    def _say(self, sentence: str) -> None:
        print(sentence, flush=True)
        self.spoke = time.monotonic()


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


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
            self.bar.update(self.task, description=text)

    def progress(self, step: int, seconds_left: float) -> None:
        self.bar.update(self.task, completed=step)


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
