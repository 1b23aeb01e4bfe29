"""The limits: the worst images, and what helps them. Section 6.3, Fig. 9.

Claim: severe motion blur leaves ghosts, because F does not always land where G accepts its result; "in theory our
framework can be applied again to further decouple".
"""

from __future__ import annotations

import numpy as np

from golfdeblur import metrics
from golfdeblur.experiments import pictures
from golfdeblur.experiments.report import Result, Settings, Table
from golfdeblur.model import load
from golfdeblur.runtimes import Network
from golfdeblur.sheet import grid

WORST = 6
STEPS, MORE_STEPS = 3, 10


def run(settings: Settings) -> Result:
    """Take the images with the lowest PSNR after x3, and try F again before G, and more corrections."""
    f, g = pictures.f_and_g(load(settings.plain))
    scored = []
    for name, y, sharp in pictures.pairs(settings):
        scored.append(
            (metrics.psnr(pictures.as_pixels(_corrected(g, f(pictures.as_input(y)), STEPS)), sharp), name, y, sharp)
        )
    worst = sorted(scored, key=lambda row: row[0])[:WORST]
    table_rows, scores_of_all, strips = [], [], []
    for _, name, y, sharp in worst:
        x0 = f(pictures.as_input(y))
        results = {
            "x0 = F(y)": x0,
            f"x{STEPS}": _corrected(g, x0, STEPS),
            f"x{MORE_STEPS}": _corrected(g, x0, MORE_STEPS),
            f"F(F(y)), then {STEPS} of G": _corrected(g, f(x0), STEPS),
            f"F(x{STEPS}), then {STEPS} of G": _corrected(g, f(_corrected(g, x0, STEPS)), STEPS),
        }
        shown = {label: pictures.as_pixels(x) for label, x in results.items()}
        scores = [metrics.psnr(y, sharp), *(metrics.psnr(pixels, sharp) for pixels in shown.values())]
        table_rows.append((name, *scores))
        scores_of_all.append(scores)
        labels = ["input", *shown, "sharp"]
        images = [y, *shown.values(), sharp]
        notes = [
            f"{label} {score:.2f}" for label, score in zip(labels, [*scores, None], strict=True) if score is not None
        ]
        strips.append([(label, pictures.crop(x)) for label, x in zip([*notes, "sharp"], images, strict=True)])
    means = np.mean(scores_of_all, axis=0)
    header = ("image", "input", *results)
    gains = {label: float(m - means[2]) for label, m in zip(header[1:], means, strict=True)}
    again = max(gains[label] for label in list(results)[3:])
    table = Table(f"PSNR in dB of the {len(worst)} worst images:", header, [*table_rows, ("mean", *map(float, means))])
    verdict = (
        f"`{settings.plain}` on the {len(worst)} worst of {len(scored)} images: x{STEPS} reaches {means[2]:.2f} dB "
        f"(input {means[0]:.2f}). Applying F again changes that by {again:+.2f} dB at best, {MORE_STEPS} corrections "
        f"by {gains[f'x{MORE_STEPS}']:+.2f} dB."
    )
    claim = "severe blur leaves ghosts; applying the framework again may decouple further."
    numbers = {
        "images": len(scored),
        "worst": [row[0] for row in table_rows],
        "mean_psnr_db": dict(zip(header[1:], map(float, means), strict=True)),
    }
    parts = {"applying F again helps the worst images": again > 0}
    return Result("hard", claim, parts, verdict, numbers, [table], {}, {"worst": grid(strips)})


def _corrected(g: Network, x: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        x = g(x)
    return x
