"""Time and memory of the models on this machine, for every runtime and size; another command beside them.

Every figure is taken in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import multiprocessing
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfdeblur import offline
from golfdeblur.errors import ConfigError
from golfdeblur.files import atomic, image
from golfdeblur.files.picture import from_samples
from golfdeblur.golf import STEPS
from golfdeblur.model import Model, load

SIZES = ((256, 256), (1280, 720), (4000, 3000), (6000, 4000))
"""Widths and heights: the paper's, a video frame, 12 and 24 megapixels."""

MATRIX_SIDE = 1536


@dataclass(frozen=True)
class Case:
    """What is measured, and how often."""

    model: str
    runtime: str
    size: tuple[int, int]
    """Width and height."""
    steps: int = STEPS
    repeats: int = 5
    seconds: float = 1.0
    """It runs at least so often and so long, after one run to warm up."""


def measure_all(cases: list[Case]) -> Iterator[dict[str, Any]]:
    """Yield one row for each case: min, median and max of the time of F and all corrections, and the peak memory.

    GMAC counts the multiplications of the convolutions. `peak_share` compares with the fastest float32 matrix product
    of this machine, measured just after. Raises what `load` raises.
    """
    context = multiprocessing.get_context("spawn")
    for case in cases:
        with context.Pool(1) as pool:
            yield pool.apply(measure, (case,))


def measure(case: Case) -> dict[str, Any]:
    """Measure one case in this process."""
    model = load(case.model, runtime=case.runtime)
    width, height = case.size
    picture = from_samples(_scene(width, height))
    # No early end: every run does the same work.
    runs = times(lambda: model.restore(picture, steps=case.steps, stop_below=0.0), case.repeats, case.seconds)
    peak_bytes = _peak_bytes()
    # Not before the runs: large matrices change how the allocator serves torch from then on (research/).
    matrix_gflops = matrix_product_gflops()
    seconds = statistics.median(runs)
    gmac = _gmac(model, width * height, case.steps)
    return {
        "model": case.model,
        "runtime": case.runtime,
        "width": width,
        "height": height,
        "steps": case.steps,
        "runs": len(runs),
        "seconds": {"min": min(runs), "median": seconds, "max": max(runs)},
        "seconds_per_mpx": seconds / (width * height / 1e6),
        "peak_mib": peak_bytes / 2**20,
        "gmac": gmac,
        "gflops": None if gmac is None else 2 * gmac / seconds,
        "matrix_product_gflops": matrix_gflops,
        "peak_share": None if gmac is None else 2 * gmac / seconds / matrix_gflops,
    }


def gain(runtime: str, repeats: int = 5, seconds: float = 0.4) -> float:
    """Return how many times as fast as its float32 form one of runtimes.REDUCED computes F at 256 x 256 here."""
    scene = _scene(256, 256)
    took = []
    for name in (runtime.removesuffix("-bf16").removesuffix("-int8"), runtime):
        model = load(runtime=name)
        took.append(min(times(lambda model=model: model.deblur(scene, steps=0), repeats, seconds)))  # type: ignore[misc]
    return took[0] / took[1]


def compare(command: str, photo: Path, *, model: str, repeats: int) -> dict[str, Any]:
    """Time `golf deblur` and another command on the same photo, in turn, each from a cold start.

    `command` holds {input} and {output}. Raises ConfigError where it does not, or where it fails.
    """
    if "{input}" not in command or "{output}" not in command:
        raise ConfigError(f"The command '{command}' must hold {{input}} and {{output}}, where the files' names go.")
    try:
        other = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"The command '{command}' cannot be taken apart ({error}); check its quotes.") from error
    image.read_rgb8(photo)  # fails in one sentence
    ours = [sys.executable, "-m", "golfdeblur", "deblur", "{input}", "-o", "{output}", "--model", model, "-q"]
    found: dict[str, list[float]] = {"golf": [], "other": []}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(repeats):
            for name, template in (("golf", ours), ("other", other)):
                output = Path(folder) / f"{name}-{index}.png"
                found[name].append(_time_command(template, photo, output))
    medians = {name: statistics.median(runs) for name, runs in found.items()}
    return {
        "photo": str(photo),
        "command": command,
        "seconds": {name: {"min": min(r), "median": medians[name], "max": max(r)} for name, r in found.items()},
        "times_faster": medians["other"] / medians["golf"],
    }


def times(work: Callable[[], object], repeats: int, seconds: float) -> list[float]:
    """Return the seconds of at least `repeats` runs that together take `seconds`, after one that does not count."""
    work()
    runs: list[float] = []
    while len(runs) < repeats or sum(runs) < seconds:
        started = time.perf_counter()
        work()
        runs.append(time.perf_counter() - started)
    return runs


def matrix_product_gflops() -> float:
    """Return the rate of the fastest of several float32 matrix products, in GFLOP/s."""
    a, b = np.random.default_rng(0).random((2, MATRIX_SIDE, MATRIX_SIDE), np.float32)
    return 2 * MATRIX_SIDE**3 / min(times(lambda: a @ b, 5, 0.3)) / 1e9


def plot(rows: list[dict[str, Any]], output: Path) -> None:
    """Draw time against megapixels, log-log, one line for each model and runtime, into a PNG or SVG."""
    offline.matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for model, runtime in sorted({(row["model"], row["runtime"]) for row in rows}):
        own = [row for row in rows if (row["model"], row["runtime"]) == (model, runtime)]
        points = sorted((row["width"] * row["height"] / 1e6, row["seconds"]["median"]) for row in own)
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{model}, {runtime}")
    axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds (median)", title="F and the corrections")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with atomic.replacing(output) as file:
        figure.savefig(file, format=output.suffix.removeprefix("."), dpi=130)


def _time_command(template: list[str], photo: Path, output: Path) -> float:
    words = [word.replace("{input}", str(photo)).replace("{output}", str(output)) for word in template]
    started = time.perf_counter()
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(f"{words[0]} cannot be run ({error.strerror}); check the command.") from error
    seconds = time.perf_counter() - started
    if done.returncode or not output.exists():
        reason = (done.stderr.strip().splitlines() or ["it wrote no output"])[-1]
        raise ConfigError(f"'{shlex.join(words)}' failed: {reason}")
    return seconds


def _scene(width: int, height: int) -> np.ndarray:
    """Return edges and gradients of (height, width, 3) uint8, made without much memory."""
    rows, columns = np.arange(height, dtype=np.uint16)[:, None], np.arange(width, dtype=np.uint16)[None]
    return np.stack([(rows ^ columns) % 256, (rows + columns) % 256, (rows // 3 + columns) % 256], axis=2).astype(
        np.uint8
    )


def _gmac(model: Model, pixels: int, steps: int) -> float | None:
    f, g = model.weights.f, model.weights.g
    per_px = [file.macs_per_px for file in (f, *([g] * steps if g else []))]
    return None if None in per_px else pixels * sum(x for x in per_px if x is not None) / 1e9


def _peak_bytes() -> int:
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
