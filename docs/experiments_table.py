"""Renew the table of docs/experiments.md from the results of `golf experiment`.

    python docs/experiments_table.py build/experiments

The folder holds NAME/result.json for each experiment. What it lacks keeps its row.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "experiments.md"
BEGIN, END = "<!-- experiments: begin -->\n", "<!-- experiments: end -->"
HEAD = ["| experiment | held here | on | with | found here |", "|---|---|---|---|---|"]


def row(result: dict[str, Any]) -> str:
    """Return the row of one result: what held, on which data, with which weights, and the verdict."""
    made = result["made"]
    failed = [part for part, held in result["parts"].items() if not held]
    data = made["data"]
    cells = [
        f"`{result['name']}`",
        f"**{result['held']}**" + (f"; not: {'; '.join(failed)}" if result["held"] == "in part" else ""),
        "" if data is None else f"{data['folder']}, {data['pairs']} pairs",
        f"`{made['model']}`, F {made['sha256']['F'][:8]}, golfdeblur {made['version']}",
        result["verdict"],
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def renewed(page: str, results: list[dict[str, Any]]) -> str:
    """Return the page with the rows of `results` in the place of those before. Raises ValueError for a smoke run."""
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    rows = dict(re.findall(r"^(\| `([a-z-]+)` .*)$", old, re.MULTILINE))
    rows = {name: line for line, name in rows.items()}
    for result in results:
        if result["made"]["quick"]:
            raise ValueError(f"{result['name']} is a smoke run; run it without --quick.")
        rows[result["name"]] = row(result)
    return before + BEGIN + "\n".join([*HEAD, *(rows[name] for name in sorted(rows))]) + "\n" + END + after


if __name__ == "__main__":
    found = [json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*/result.json"))]
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
