"""Tables 1 to 5: parameters, quality, sizes and run times, measured here, the published figures quoted beside them.

Claim: 2.24 MB of weights reach 28.06 dB on GoPro and need 17 to 41 ms for a 256 x 256 image on the GPUs of 2019.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from golfdeblur import runtimes
from golfdeblur.engine.runner import Runner, open_runner
from golfdeblur.errors import ConfigError
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.learning import checkpoint, export, networks
from golfdeblur.weights import Weights, embedded_names, find_weights

MODELS = ("paper", "fast")

STEPS = 3
SIDE = 256
RUNS = 50

TABLE_1 = {"F": (4704, 151_808, 151_808, 151_808, 5779, 441), "G": (2352, 38_016, 38_016, 38_016, 3347, 441)}
STAGES = (
    "Conv 7x7, 3 to f",
    "2 x block f to f",
    "2 x block f to f",
    "2 x block f to f",
    "block f to 3, block 3 to 3",
    "Conv 7x7, 3 to 3",
)
QUOTED_QUALITY = (
    ("Sun [33]", 24.64, 0.84), ("Xu L0 [37]", 25.18, 0.89), ("Hyun Kim [11]", 23.64, 0.82),
    ("Gong [7]", 27.19, 0.90), ("Golf Optimizer", 28.06, 0.85),
)  # fmt: skip
QUOTED_SIZES = (
    ("Sun [33]", 54.1),
    ("Nah [26]", 303.6),
    ("Gong [7]", 41.2),
    ("Zhang [41]", 37.1),
    ("F", 1.78),
    ("G", 0.46),
    ("F and G", 2.24),
)
QUOTED_TIMES = (
    ("GTX 1080 Ti", 10.91, 16.94, 26.87),
    ("GTX 1080", 15.83, 17.30, 28.52),
    ("GT 750M", 35.97, 40.66, 106.17),
)
QUOTED_RIVALS = (
    ("Krishnan [17]", "24.23 s"), ("Levin [21]", "117.06 s"), ("Pan dark channel [28]", "134.31 s"),
    ("Yan extreme channel [38]", "264.78 s"), ("Li [22]", "109.27 s"), ("Sun [33]", "20 min"), ("Xu L0 [37]", "1.11 s"),
    ("Hyun Kim [11]", "1 h"), ("Xu and Jia [35]", "0.80 s"), ("Gong [7]", "0.72 s"), ("DeblurGAN [18]", "0.85 s"),
)  # fmt: skip


def run(settings: Settings) -> Result:
    """Count, weigh and time both models here; take the quality from the given files of `golf evaluate --json`."""
    quality = [_quality(path) for path in settings.evaluations]
    counts = {letter: _stages(letter) for letter in ("F", "G")}
    exact = all(counts[letter] == TABLE_1[letter] for letter in counts)
    sizes = [(name, *_sizes(name)) for name in MODELS]
    side = SIDE // 4 if settings.quick else SIDE
    times = _times(1 if settings.quick else RUNS, side)
    tables = [
        Table(
            "Table 1, parameters of `paper` by stage, all as printed:" if exact else "Table 1 differs:",
            ("stage", "F", "G"),
            [*zip(STAGES, counts["F"], counts["G"], strict=True), ("total", sum(counts["F"]), sum(counts["G"]))],
        ),
        Table(
            "Table 2, quality, measured here. Mind the number of images: GoPro's full test set has 1,111:",
            ("model", "data", "images", "corrections", "input, dB", "PSNR, dB", "SSIM by protocol"), quality,
        ),
        Table(
            "Table 2 as published (quoted: GoPro's full test set, SSIM's protocol not named):",
            ("method", "PSNR, dB", "SSIM"), list(QUOTED_QUALITY),
        ),
        Table("Table 3, float32 weights in MiB, measured here:", ("model", "F", "G", "both"), sizes),
        Table("Table 3 as published (quoted):", ("method", "MB"), list(QUOTED_SIZES)),
        Table(
            f"Table 4, {side} x {side}, milliseconds on this machine:",
            ("model", "runtime", "part", "min", "mean", "max", "runs"), [tuple(row.values()) for row in times],
        ),
        Table("Table 4 as published (quoted: F and three of G):", ("GPU", "min", "mean", "max"), list(QUOTED_TIMES)),
        Table("Table 5 as published (quoted: one 256 x 256 image):", ("method", "time"), list(QUOTED_RIVALS)),
    ]  # fmt: skip
    mean = {(row["model"], row["runtime"], row["part"]): row["mean_ms"] for row in times}
    fast, paper = (mean[name, "onnxruntime", "F + 3G"] for name in ("fast", "paper"))
    both = sizes[MODELS.index("paper")][3]
    verdict = (
        f"Table 1 comes out {'exactly' if exact else 'differently'}; `paper` weighs {both:.2f} MiB. F + 3G take "
        f"{paper:.0f} ms (`paper`) and {fast:.0f} ms "
        f"(`fast`, {paper / fast:.1f} times faster) in onnxruntime on this machine's CPU. The published times are a "
        f"GPU's and cannot be compared."
    )
    numbers = {
        "parameters": {k: list(v) for k, v in counts.items()},
        "sizes_mib": [list(s) for s in sizes],
        "times": times,
    }
    numbers["quality"] = [list(map(str, row)) for row in quality]
    claim = "466,348 and 120,188 parameters, 2.24 MB, 17 to 41 ms on GPUs."
    parts = {"Table 1, every stage": exact, "Table 3, 2.24 MB": abs(both - 2.24) < 0.01}
    return Result("tables", claim, parts, verdict, numbers, tables)


def _stages(letter: str) -> tuple[int, ...]:
    network = networks.build(getattr(networks.PRESETS["paper"], letter.lower()))
    assert isinstance(network, networks.ResidualCNN)
    return tuple(networks.count_parameters(part) for part in (network.head, *network.stages, network.tail))


def _sizes(name: str) -> tuple[float, float, float]:
    preset = networks.PRESETS[name]
    f, g = (4 * networks.count_parameters(networks.build(spec)) / 2**20 for spec in (preset.f, preset.g))
    return f, g, f + g


def _times(runs: int, side: int) -> list[dict[str, Any]]:
    """Time F, G and F + 3G of both models in every runtime that is installed; weights do not matter for it."""
    x = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            weights = _pair(name, Path(folder) / name)
            for runtime in runtimes.available():
                try:
                    f, g = (open_runner(file, runtime) for file in weights.networks.values())
                except ConfigError:  # too inexact on this machine
                    continue
                for part, seconds in _timed(f, g, x, runs).items():
                    found = [1000 * s for s in seconds]
                    figures = {
                        "min_ms": min(found),
                        "mean_ms": float(np.mean(found)),
                        "max_ms": max(found),
                        "runs": len(found),
                    }
                    rows.append({"model": name, "runtime": runtime, "part": part, **figures})
    return rows


def _timed(f: Runner, g: Runner, x: np.ndarray, runs: int) -> dict[str, list[float]]:
    """Return the seconds of F, of every G and of the whole in `runs` restorations, after one that warms up."""
    found: dict[str, list[float]] = {"F": [], "G": [], "F + 3G": []}
    for index in range(runs + 1):
        moments = [time.perf_counter()]
        through = x
        for stage in (f, *STEPS * [g]):
            through = stage(through)
            moments.append(time.perf_counter())
        if index:
            first, *others = np.diff(moments).tolist()
            found["F"].append(first)
            found["G"] += others
            found["F + 3G"].append(moments[-1] - moments[0])
    return found


def _pair(name: str, folder: Path) -> Weights:
    """Return the embedded weights of a model, or untrained ones where its corrector is missing."""
    if name in embedded_names() and (found := find_weights(name)).g is not None:
        return found
    folder.mkdir()
    for letter in ("f", "g"):
        network = networks.build(getattr(networks.PRESETS[name], letter))
        checkpoint.save_network(folder / f"{letter.upper()}.safetensors", network, {})
    export.export(folder / "F.safetensors", folder / "G.safetensors", folder / "model", name=name, notes={})
    return find_weights(folder / "model")


def _quality(path: Path) -> tuple[Any, ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        mean = found["mean"]
        ssim = ", ".join(f"{name} {value:.4f}" for name, value in mean["ssim"].items())
        return (
            found["model"],
            found["data"],
            len(found["images"]),
            found["steps"],
            found["input_mean"]["psnr"],
            mean["psnr"],
            ssim,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); give a file that golf evaluate --json wrote.") from error
