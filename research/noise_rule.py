"""Say whether an F that was trained with noise may be embedded, by a rule fixed before any run.

No validation set may lose more than 0.05 dB. On the three sets of noise.py together white noise of 0.02 must
gain 0.5 dB and of 0.04 1.0 dB, and at 0.02 flat parts must come out with 0.9 of the noise that went in, or less.

    python research/noise_rule.py OUT       (the folder that research/gpu.sh wrote)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MOST_LOST_DB = 0.05
LEAST_GAINED_DB = {"white 0.02": 0.5, "white 0.04": 1.0}
MOST_NOISE = {"white 0.02": 0.9}


def validation(run: Path) -> dict[str, float]:
    """Return the PSNR of each set at the last validation of a run."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last = [line["psnr_db"] for line in lines if "psnr_db" in line][-1]
    return {name: after for name, (_, after) in last.items()}


def faults(folder: Path) -> dict[str, tuple[float, float | None]]:
    """Return for each fault the mean over the sets of F's gain and of noise out for noise in."""
    rows = json.loads((folder / "noise.json").read_text())
    found = {}
    for fault in dict.fromkeys(row["fault"] for row in rows):
        gains = [row["gain_db"]["F"] for row in rows if row["fault"] == fault]
        noises = [row["noise"]["F"] for row in rows if row["fault"] == fault and row["noise"]["F"] is not None]
        found[fault] = (sum(gains) / len(gains), sum(noises) / len(noises) if noises else None)
    return found


def judge(out: Path) -> list[tuple[bool, str]]:
    """Return every demand of the rule: whether it is met, and a sentence with its figures."""
    before, after = validation(out / "before"), validation(out / "f")
    demands = []
    for name, value in before.items():
        change = after[name] - value
        demands.append((change >= -MOST_LOST_DB, f"{name}: {value:.3f} to {after[name]:.3f} dB, {change:+.3f}"))
    old, new = faults(out / "noise-before"), faults(out / "noise-after")
    for fault, least in LEAST_GAINED_DB.items():
        gained = new[fault][0] - old[fault][0]
        demands.append((gained >= least, f"{fault}: {gained:+.2f} dB over the embedded F, at least {least} wanted"))
    for fault, most in MOST_NOISE.items():
        noise = new[fault][1]
        demands.append((noise is not None and noise <= most, f"{fault}: noise out/in {noise}, at most {most} wanted"))
    return demands


def main(out: Path) -> None:
    """Print the verdict."""
    demands = judge(out)
    for met, sentence in demands:
        print(("met     " if met else "NOT met ") + sentence)
    print("The rule is met: embed it." if all(met for met, _ in demands) else "The rule is not met: the weights stay.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
