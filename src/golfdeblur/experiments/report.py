"""What an experiment finds: its numbers, tables and figures, written as result.json, PNG, SVG and a short report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from golfdeblur.errors import ConfigError
from golfdeblur.files import atomic


@dataclass(frozen=True)
class Settings:
    """What an experiment works on."""

    quick: bool = False
    """A smoke run of seconds: everything is computed, on next to nothing; the figures mean nothing."""
    model: str = "fast"
    """The trained model that is looked at."""
    network: str = "fast"
    """The architecture of networks that are trained here."""
    data: Path | None = None
    """A folder with blur/ and sharp/."""
    features: Path | None = None
    """VGG-19's features for the perceptual loss."""
    evaluations: tuple[Path, ...] = ()
    """Files of golf evaluate --json."""
    seeds: int = 5

    @property
    def trained(self) -> str:
        """The architecture that is trained: the least one in a smoke run."""
        return "tiny" if self.quick else self.network


@dataclass(frozen=True)
class Table:
    """One table of a report."""

    caption: str
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def markdown(self) -> str:
        """Return the table in Markdown, its caption above."""
        lines = [f"| {' | '.join(map(_cell, row))} |" for row in (self.header, *self.rows)]
        return "\n".join([f"{self.caption}\n", lines[0], "|" + "---|" * len(self.header), *lines[1:]])


@dataclass(frozen=True)
class Result:
    """What one experiment found."""

    name: str
    claim: str
    """What the paper says."""
    holds: bool | None
    """Whether it held here; None where it cannot be compared."""
    verdict: str
    """The same in words, with figures."""
    numbers: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)


def write(result: Result, folder: Path) -> Path:
    """Write result.json, the figures (PNG and SVG), the pictures (PNG) and report.md; return the report's path.

    Raises ConfigError where `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in result.figures.items():
            for kind in ("png", "svg"):
                with atomic.replacing(folder / f"{name}.{kind}") as file:
                    figure.savefig(file, format=kind, dpi=120)
        for name, picture in result.pictures.items():
            with atomic.replacing(folder / f"{name}.png") as file:
                picture.save(file, "PNG")
        content = {"name": result.name, "claim": result.claim, "holds": result.holds, "verdict": result.verdict}
        numbers = json.dumps({**content, "numbers": result.numbers}, indent=1) + "\n"
        atomic.write(folder / "result.json", numbers.encode())
        atomic.write(folder / "report.md", f"# {result.name}\n\n{section(result, '.')}".encode())
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); give another --out.") from error
    return folder / "report.md"


def section(result: Result, place: str) -> str:
    """Return the report of one experiment in Markdown; its pictures lie in `place`."""
    answer = {True: "It held here.", False: "It did not hold here.", None: "Not comparable here."}[result.holds]
    parts = [f"**The paper:** {result.claim}", f"**{answer}** {result.verdict}"]
    parts += [table.markdown() for table in result.tables]
    parts += [f"![{name}]({place}/{name}.png)" for name in (*result.figures, *result.pictures)]
    return "\n\n".join(parts) + "\n"


def write_all(results: list[Result], folder: Path) -> Path:
    """Write one report of several experiments, whose files lie in folders of their names."""
    rows = [(r.name, {True: "yes", False: "no", None: "-"}[r.holds], r.verdict) for r in results]
    overview = Table("What held and what did not:", ("experiment", "held", "found here"), rows).markdown()
    text = "\n".join(
        ["# The paper's experiments\n", overview, *(f"\n## {r.name}\n\n{section(r, r.name)}" for r in results)]
    )
    atomic.write(folder / "report.md", text.encode())
    return folder / "report.md"


def mean_and_spread(values: list[float]) -> dict[str, float]:
    """Return the mean and the sample standard deviation."""
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": mean, "spread": spread}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"
    return "" if value is None else str(value)
