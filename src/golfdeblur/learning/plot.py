"""Curves of training runs, drawn from their log.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golfdeblur import offline
from golfdeblur.errors import ConfigError
from golfdeblur.files import atomic
from golfdeblur.learning.run import read_log


def plot_runs(folders: list[Path], output: Path) -> None:
    """Draw the loss and the gain in dB of the last estimate, each against the step, and write a PNG.

    Raises ConfigError for a folder without a log and for an output that cannot be written.
    """
    offline.matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 4)))
    for index, folder in enumerate(folders):
        rows = read_log(folder)
        losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
        colour = f"C{index % 10}"
        if losses:
            left.plot(*zip(*losses, strict=True), color=colour, label=folder.name, linewidth=1)
        for style, (name, points) in zip(styles * 9, _gains(rows).items(), strict=False):
            label = f"{folder.name}: {name}"
            right.plot(*zip(*points, strict=True), linestyle=style, color=colour, label=label, marker=".")
    left.set(title="Loss", xlabel="step", ylabel="loss (mean since the last row)", yscale="log")
    left.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    right.set(title="Validation", xlabel="step", ylabel="gain over the blurry input, dB")
    right.axhline(0, color="grey", linewidth=0.8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:  # outside, where it hides no curve
            axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    try:
        with atomic.replacing(output) as file:
            figure.savefig(file, format="png", dpi=130)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}); choose another place.") from error


def _gains(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return (step, gain) of every validation set."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for name, values in row.get("psnr_db", {}).items():
            found.setdefault(name, []).append((row["step"], values[-1] - values[0]))
    return found
