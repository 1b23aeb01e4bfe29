"""`golf experiment NAME`: the paper's experiments, each one command."""

from __future__ import annotations

import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import ForceOption, ModelOption, ThreadsOption, app, check_new, needs_extra
from golfdeblur.errors import GolfError


class Experiment(str, Enum):
    """The names that the command takes."""

    prior = "prior"
    forgetting = "forgetting"
    balance = "balance"
    convergence = "convergence"
    gradient_field = "gradient-field"
    hard = "hard"
    known_kernel = "known-kernel"
    tables = "tables"
    theory = "theory"
    all = "all"


class Trained(str, Enum):
    """The architectures that the experiments train."""

    fast = "fast"
    paper = "paper"


@app.command("experiment")
def experiment(
    name: Annotated[Experiment, typer.Argument(help="Which one; `all` makes one report of all.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for result.json, figures and report.md.")],
    data: Annotated[Path | None, typer.Option(help="A folder with blur/ and sharp/.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    network: Annotated[Trained, typer.Option(help="What `forgetting` and `balance` train.")] = Trained.fast,
    features: Annotated[Path | None, typer.Option(help="VGG-19's features, for `balance`.")] = None,
    evaluations: Annotated[
        list[Path] | None, typer.Option("--evaluation", help="A file of golf evaluate --json.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of what is trained (`forgetting`: at most 3).")] = 5,
    threads: ThreadsOption = None,
    quick: Annotated[bool, typer.Option(help="A smoke run of seconds; its figures mean nothing.")] = False,
    force: ForceOption = False,
) -> None:
    """Repeat an experiment of the paper and report whether its claim holds here (needs the extra `train`)."""
    from golfdeblur.files import image

    with needs_extra("train"):
        from golfdeblur.experiments import (
            balance,
            convergence,
            forgetting,
            gradient_field,
            hard,
            known_kernel,
            prior,
            report,
            tables,
            theory,
        )
    out.mkdir(parents=True, exist_ok=True)
    check_new(out / "report.md", force=force)
    if data is not None:
        image.find_pairs(data)  # now, not after the experiments before
    runs = {
        Experiment.prior: prior.run,
        Experiment.forgetting: forgetting.run,
        Experiment.balance: balance.run,
        Experiment.convergence: convergence.run,
        Experiment.gradient_field: gradient_field.run,
        Experiment.hard: hard.run,
        Experiment.known_kernel: known_kernel.run,
        Experiment.tables: tables.run,
        Experiment.theory: theory.run,
    }
    settings = report.Settings(quick, model, network.value, data, features, tuple(evaluations or ()), seeds)
    results, failed = [], 0
    for each in runs if name is Experiment.all else [name]:
        started = time.perf_counter()
        try:
            result = runs[each](settings)
        except GolfError as error:
            if name is not Experiment.all:
                raise
            failed += 1
            print(f"golf: {each.value}: {error}", file=sys.stderr)
            continue
        results.append(result)
        place = out / each.value if name is Experiment.all else out
        written = report.write(result, place, settings)
        print(f"{each.value}: {time.perf_counter() - started:.0f} s. {result.verdict}", flush=True)
    if name is Experiment.all:
        written = report.write_all(results, out, settings)
    print(f"Report: {written}")
    if failed:
        raise GolfError(f"{failed} of {len(runs)} experiments failed, as named above; the report has the others.")
