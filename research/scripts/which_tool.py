"""Make the table "which tool for which blur" of files that `golf evaluate --json` wrote, and put it into pages.

    python research/scripts/which_tool.py build/rivals/*.json --into README.md docs/experiments.md

A page has the lines BEGIN and END below where the table goes.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- which blur, which tool, how many dB: begin -->", "<!-- which blur, which tool, how many dB: end -->"
TOOLS = {
    "fast": ("`golf deblur`", "nothing"),
    "fast scene": ("`golf deblur --blur scene`, F alone", "nothing"),
    "fast shake": ("`golf deblur --blur shake`", "one kernel blurs all"),
    "l0": ("`--method l0`, after Xu, Zheng, Jia 2013", "one kernel blurs all"),
    "dark-channel": ("`--method dark-channel`, after Pan et al. 2016", "one kernel blurs all"),
    "normalised-sparsity": ("`--method normalised-sparsity`, after Krishnan et al. 2011", "one kernel blurs all"),
    "wiener": ("`--method wiener`", "the true kernel"),
    "richardson-lucy": ("`--method richardson-lucy`", "the true kernel"),
    "tv": ("`--method tv`, total variation", "the true kernel"),
    "hyper-laplacian": ("`--method hyper-laplacian`", "the true kernel"),
}
"""What a result's model is called in the table, and what it is told."""


def table(results: list[dict[str, Any]]) -> str:
    """Return the table in Markdown, by data and then in the order of TOOLS."""
    lines = [
        "| photos | tool | it is told | PSNR dB (input) | worst photo | processor seconds a photo |",
        "|---" * 6 + "|",
    ]
    order = list(TOOLS)
    for result in sorted(results, key=lambda r: (r["data"], order.index(_tool(r)))):
        name, told = TOOLS[_tool(result)]
        gains = {image["name"]: image["psnr"] - image["input"]["psnr"] for image in result["images"]}
        worst = min(gains, key=lambda image: gains[image])
        seconds = [image["seconds"] for image in result["images"] if "seconds" in image]
        cells = [
            f"{result['data']}, {len(gains)}",
            name,
            told,
            f"**{result['mean']['psnr']:.2f}** ({result['input_mean']['psnr']:.2f})",
            f"{gains[worst]:+.2f}, {Path(worst).stem}",
            f"{_significant(sum(seconds) / len(seconds))}" if seconds else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _tool(result: dict[str, Any]) -> str:
    return " ".join([result["model"], *([result["blur"]] if "blur" in result else [])])


def _significant(value: float) -> str:
    return f"{value:.{max(0, 1 - math.floor(math.log10(max(value, 1e-3))))}f}"


def put(page: Path, made: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put `made` between the lines `begin` and `end` of a page. Raises SystemExit where the page lacks them."""
    before, found, rest = page.read_text(encoding="utf-8").partition(begin + "\n")
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} lacks the lines {begin} and {end}; add them where the table goes.")
    page.write_text(before + begin + "\n" + made + end + after, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--into", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    text = table([json.loads(file.read_text()) for file in asked.files])
    for target in asked.into:
        put(target, text)
    if not asked.into:
        print(text, end="")
