"""Pairs times a method give scores: per image, their means, and the blurry input's own beside them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfdeblur import metrics
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.errors import DataError
from golfdeblur.files import image
from golfdeblur.runtimes import REDUCED

Method = Callable[[np.ndarray], np.ndarray]
"""Any function from (H, W, 3) uint8 to the same: a model, the identity, a rival."""

Informed = Callable[[np.ndarray, Kernel], np.ndarray]
"""A method that is told the true kernel as well."""


@dataclass(frozen=True)
class Scores:
    """PSNR in dB, and SSIM by protocol, of one image or of a mean."""

    psnr: float
    ssim: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return {"psnr", "ssim": {protocol: value}}; JSON has no infinity, so equal images have psnr null."""
        return {"psnr": self.psnr if math.isfinite(self.psnr) else None, "ssim": self.ssim}


@dataclass(frozen=True)
class Row:
    """One image's name, the scores of the method's output and those of the blurry input."""

    name: str
    output: Scores
    blurry: Scores
    seconds: float
    """Processor time of the method, all threads together; reading and scoring apart."""


def evaluate(
    folder: Path, method: Method | None = None, *, informed: Informed | None = None, best_shift_px: int = 0
) -> Iterator[Row]:
    """Yield a row for each pair of `folder`, in the order of their names; give `method` or `informed`.

    With `best_shift_px` outputs and inputs are compared where they lie nearest to the sharp image, each moved by so
    much at most (`metrics.at_best_shift`). Raises DataError for a pair, or an output, of unequal sizes, or too small to
    be moved, and ImageError for an unreadable file or, with `informed`, a kernel (`true_kernel`).
    """
    for name, blurry_path, sharp_path in image.find_pairs(folder):
        blurry, sharp = image.read_rgb8(blurry_path), image.read_rgb8(sharp_path)
        if blurry.shape != sharp.shape:
            raise DataError(
                f"{name}: blurry is {blurry.shape[1]}x{blurry.shape[0]}, sharp {sharp.shape[1]}x{sharp.shape[0]}; "
                "a pair must show the same pixels."
            )
        told = () if informed is None else (true_kernel(blurry_path),)
        started = time.process_time()
        made = (informed or method)(blurry, *told)  # type: ignore[misc]
        seconds = time.process_time() - started
        output, before = (score(x, sharp, best_shift_px=best_shift_px) for x in (made, blurry))
        yield Row(name, output, before, seconds)


def true_kernel(blurry: Path) -> Kernel:
    """Read kernel/NAME.npy beside the folder of a blurry image; meta.json there may name its light, else it is sRGB.

    Raises ImageError where the kernel is missing, and DataError for an unreadable meta.json.
    """
    root, facts = blurry.parent.parent, root_facts(blurry.parent.parent)
    return Kernel.read(root / "kernel" / f"{blurry.stem}.npy", light=facts.get(blurry.stem, {}).get("light", "srgb"))


def root_facts(root: Path) -> dict[str, Any]:
    """Return what meta.json in `root` says of each image; nothing where there is none. Raises DataError."""
    path = root / "meta.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); make the set again.") from error


def score(x: np.ndarray, sharp: np.ndarray, *, best_shift_px: int = 0) -> Scores:
    """Score one (H, W, 3) uint8 image against the sharp one by PSNR and every SSIM protocol.

    Examples:
        >>> sharp = np.full((16, 16, 3), 100, np.uint8)
        >>> score(sharp, sharp + np.uint8(1)).psnr > 48
        True
    """
    if best_shift_px:
        x, sharp = metrics.at_best_shift(x, sharp, best_shift_px)
    return Scores(metrics.psnr(x, sharp), {name: metrics.ssim(x, sharp, name) for name in metrics.PROTOCOLS})


def mean(scores: list[Scores]) -> Scores:
    """Return the means over images."""
    ssim = {name: float(np.mean([s.ssim[name] for s in scores])) for name in scores[0].ssim}
    return Scores(float(np.mean([s.psnr for s in scores])), ssim)


def as_json(
    rows: list[Row],
    *,
    model: str,
    steps: int,
    data: str,
    runtime: str,
    self_ensemble: bool = False,
    blur: str = "auto",
    best_shift_px: int = 0,
) -> dict[str, Any]:
    """Return {"model", "runtime", "steps", "data", "images": [{"name", "psnr", "ssim", "input", "seconds"}], means}.

    The means are "mean" and "input_mean". With a self-ensemble also "self_ensemble": true, where it was asked for a
    blur "blur", at the best shift "best_shift_px".
    """
    return {
        "model": model,
        "runtime": runtime,
        "steps": steps,
        **({"self_ensemble": True} if self_ensemble else {}),
        **({"blur": blur} if blur != "auto" else {}),
        "data": data,
        **({"best_shift_px": best_shift_px} if best_shift_px else {}),
        "images": [
            {"name": r.name, **r.output.as_json(), "input": r.blurry.as_json(), "seconds": round(r.seconds, 3)}
            for r in rows
        ],
        "mean": mean([r.output for r in rows]).as_json(),
        "input_mean": mean([r.blurry for r in rows]).as_json(),
    }


def markdown_table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table of results of `as_json`: PSNR and SSIM by protocol, the input's in brackets."""
    protocols = list(results[0]["mean"]["ssim"])
    head = ["data", "images", "model", "corrections", "PSNR dB (input)", *(f"SSIM {p} (input)" for p in protocols)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in results:
        output, blurry = result["mean"], result["input_mean"]
        how = f", {name}" if (name := result.get("runtime", "")) in REDUCED else ""
        how += ", self-ensemble" if result.get("self_ensemble") else ""
        how += f", {blur}" if (blur := result.get("blur")) else ""
        shift = f", best shift to {n} px" if (n := result.get("best_shift_px")) else ""
        cells = [result["data"] + shift, str(len(result["images"])), result["model"] + how, str(result["steps"])]
        cells.append(f"**{_decibels(output['psnr'])}** ({_decibels(blurry['psnr'])})")
        cells += [f"{output['ssim'][p]:.4f} ({blurry['ssim'][p]:.4f})" for p in protocols]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _decibels(psnr: float | None) -> str:
    return "equal" if psnr is None else f"{psnr:.2f}"
