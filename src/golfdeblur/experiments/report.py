"""What an experiment finds: its numbers, tables and figures, written as result.json, PNG, SVG and a short report."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from golfdeblur import __version__
from golfdeblur.errors import ConfigError
from golfdeblur.files import atomic, image
from golfdeblur.weights import find_weights


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

    @property
    def plain(self) -> str:
        """The model whose G is looked at where that is to see x alone: `paper` for one whose G has a data term."""
        return "paper" if find_weights(self.model).stroke else self.model

    def as_json(self) -> dict[str, Any]:
        """Return what a result depends on: model and sha256, data and a hash of its names, version, seeds, quick."""
        weights = find_weights(self.model)
        return {
            "version": __version__,
            "model": weights.name,
            "sha256": {letter: network.sha256 for letter, network in weights.networks.items()},
            "trained": self.trained,
            "data": None if self.data is None else _pairs(self.data),
            "seeds": self.seeds,
            "quick": self.quick,
        }


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
    parts: dict[str, bool]
    """Each part of the claim, and whether it held here; empty where it cannot be compared."""
    verdict: str
    """What was found, in words, with figures."""
    numbers: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)

    def answer(self, settings: Settings) -> str:
        """Return whether the claim held here: `yes`, `in part`, `no`, or `-`; a smoke run never says so."""
        held = set(self.parts.values())
        if settings.quick or not held:
            return "-"
        return "in part" if len(held) == 2 else "yes" if True in held else "no"


def write(result: Result, folder: Path, settings: Settings) -> Path:
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
        atomic.write(folder / "result.json", (json.dumps(_content(result, settings), indent=1) + "\n").encode())
        atomic.write(folder / "report.md", f"# {result.name}\n\n{section(result, '.', settings)}".encode())
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); give another --out.") from error
    return folder / "report.md"


def _content(result: Result, settings: Settings) -> dict[str, Any]:
    return {
        "name": result.name,
        "claim": result.claim,
        "held": result.answer(settings),
        "parts": {} if settings.quick else result.parts,
        "verdict": result.verdict,
        "made": settings.as_json(),
        "numbers": _finite(result.numbers),
    }


def section(result: Result, place: str, settings: Settings) -> str:
    """Return the report of one experiment in Markdown; its pictures lie in `place`."""
    answer = {"yes": "It held here.", "in part": "It held in part.", "no": "It did not hold here."}.get(
        result.answer(settings), "A smoke run: its figures mean nothing." if settings.quick else "Not comparable here."
    )
    parts = [f"**The paper:** {result.claim}", f"**{answer}** {result.verdict}"]
    if result.parts and not settings.quick:
        parts.append("\n".join(f"* {part}: {'yes' if held else 'no'}" for part, held in result.parts.items()))
    parts += [table.markdown() for table in result.tables]
    parts += [f"![{name}]({place}/{name}.png)" for name in (*result.figures, *result.pictures)]
    return "\n\n".join([*parts, _made(settings)]) + "\n"


def write_all(results: list[Result], folder: Path, settings: Settings) -> Path:
    """Write one report of several experiments, whose files lie in folders of their names."""
    rows = [(r.name, r.answer(settings), r.verdict) for r in results]
    overview = Table("What held and what did not:", ("experiment", "held", "found here"), rows).markdown()
    sections = (f"\n## {r.name}\n\n{section(r, r.name, settings)}" for r in results)
    atomic.write(folder / "report.md", "\n".join(["# The paper's experiments\n", overview, *sections]).encode())
    return folder / "report.md"


def _made(settings: Settings) -> str:
    made = settings.as_json()
    hashes = ", ".join(f"{letter} {sha256[:12]}" for letter, sha256 in made["sha256"].items())
    data = made["data"]
    on = "" if data is None else f" Data: `{data['folder']}`, {data['pairs']} pairs, names {data['sha256'][:12]}."
    smoke = " A smoke run." if settings.quick else ""
    return (
        f"golfdeblur {made['version']}, model `{made['model']}` (sha256: {hashes}), trained here: `{made['trained']}`, "
        f"seeds 0 to {made['seeds'] - 1}.{on}{smoke}"
    )


def _pairs(folder: Path) -> dict[str, Any]:
    names = [name for name, _, _ in image.find_pairs(folder)]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"folder": folder.resolve().name, "pairs": len(names), "sha256": digest}


def _finite(value: Any) -> Any:
    """Return `value` with null for what JSON lacks, such as the PSNR of equal images."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mean_and_spread(values: list[float]) -> dict[str, float]:
    """Return the mean and the sample standard deviation."""
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": mean, "spread": spread}


def _cell(value: Any) -> str:
    if value == math.inf:
        return "equal"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"
    return "" if value is None else str(value).replace("|", "\\|")
