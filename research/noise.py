"""Measure F on noisy, compressed and clipped pictures, beside a classical denoiser before and after it.

Every kind of fault is put on the same pairs, always in the same way: real pairs of moving scenes and photographs that a
hand shook. *Gain* is the PSNR of the result less that of what went in. *Noise* is what the fault adds to the result,
for what it adds to the input, as standard deviations where the sharp picture is flat: above 1 noise is amplified. The
denoiser is total variation (scikit-image), its weight the noise that it measures itself. `make results`; needs the
extra `dev`, and `make sets`.

    python research/noise.py DATA SETS [--model FOLDER] [--out FOLDER] [--most PICTURES]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

import golfdeblur
from golfdeblur import metrics
from golfdeblur.files import image
from golfdeblur.learning import camera, uniform
from golfdeblur.learning.camera import CameraConfig
from golfdeblur.learning.jpeg import jpeg

WIDE, TALL = 480, 360
"""Of every picture the middle is used."""

MOST = 9
"""Pictures of a set: of `shaken` one of every scene."""

WEIGHT = 0.5
"""Of the denoiser, for a measured noise of 1: on reds_val better before F than 1 and 1.5."""

FLAT = 0.02
"""A picture is flat where 9 x 9 pixels of the sharp one differ by less than this standard deviation."""

Pair = tuple[Tensor, Tensor]
"""Blurry and sharp, (1, 3, H, W) in [0, 1]."""

Restored = Callable[[Tensor], dict[str, Tensor]]
"""From a blurry picture to what each method makes of it."""

PLAIN = CameraConfig(iso=(0, 0), bayer=1, bright=0, contrast=(1, 1), blotchy=0, denoised=0, sharpened=0, jpeg=0)


@dataclass(frozen=True)
class Row:
    """The means of one fault on one set, by method: gain in dB, and noise out for noise in (None where none is in)."""

    fault: str
    data: str
    pictures: int
    input_db: float
    gain_db: dict[str, float]
    noise: dict[str, float | None]


def white(pair: Pair, sigma: float, generator: torch.Generator) -> Pair:
    """Add white noise in sRGB."""
    blurry, sharp = pair
    return (blurry + sigma * torch.randn(blurry.shape, generator=generator)).clamp(0, 1), sharp


def at_iso(pair: Pair, iso: float, generator: torch.Generator) -> Pair:
    """Take the picture again with a sensor at `iso` behind a colour filter."""
    config = CameraConfig(**{**vars(PLAIN), "iso": (iso, iso)})
    return camera.photograph(camera.to_linear(pair[0]), generator, config), pair[1]


def compressed(pair: Pair, quality: float, generator: torch.Generator) -> Pair:
    """Compress as JPEG, 4:2:0."""
    return jpeg(pair[0], quality), pair[1]


def clipped(pair: Pair, share: float, generator: torch.Generator) -> Pair:
    """Expose both so long that the brightest `share` of the sharp picture is cut off."""
    blurry, sharp = (camera.to_linear(x) for x in pair)
    white_level = sharp.amax(1).flatten().quantile(1 - share)
    return camera.develop(blurry / white_level), camera.develop(sharp / white_level)


FAULTS: dict[str, tuple[Callable[[Pair, float, torch.Generator], Pair] | None, float]] = {
    "clean": (None, 0),
    "white 0.01": (white, 0.01),
    "white 0.02": (white, 0.02),
    "white 0.04": (white, 0.04),
    "ISO 400": (at_iso, 400),
    "ISO 1600": (at_iso, 1600),
    "ISO 6400": (at_iso, 6400),
    "JPEG 90": (compressed, 90),
    "JPEG 75": (compressed, 75),
    "JPEG 50": (compressed, 50),
    "clipped lights": (clipped, 0.03),
}


def real(folder: Path) -> list[Pair]:
    """Read the middles of real pairs."""
    found = image.find_pairs(folder)
    return [(middle(read(blurry)), middle(read(sharp))) for _, blurry, sharp in found[:: len(found) // MOST + 1]]


def shaken(folder: Path) -> list[Pair]:
    """Blur sharp pictures of the set `shaken` by their kernels once more, without any fault, in their kind of light."""
    facts = json.loads((folder / "meta.json").read_text())
    names = list(facts)[:: len(facts) // MOST + 1][:MOST]
    pairs = []
    for name in names:
        kernel = torch.from_numpy(np.load(folder / "kernel" / f"{name}.npy"))
        sharp = read(folder / "sharp" / f"{name}.png")
        if facts[name]["light"] == "linear":
            y, x = uniform.uniform_pair(camera.to_linear(sharp), kernel)
            pairs.append((camera.to_srgb(y), camera.to_srgb(x)))
        else:
            pairs.append(uniform.uniform_pair(sharp, kernel))
    return pairs


def read(path: Path) -> Tensor:
    """Read a picture as (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image.read_rgb8(path).transpose(2, 0, 1).copy())[None] / 255


def middle(x: Tensor) -> Tensor:
    """Return the middle of a picture."""
    top, left = (x.shape[-2] - TALL) // 2, (x.shape[-1] - WIDE) // 2
    return x[..., top : top + TALL, left : left + WIDE]


def flat(sharp: Tensor) -> Tensor:
    """Tell where the sharp picture is flat, (1, 1, H, W)."""
    grey = sharp.mean(1, keepdim=True)
    mean, square = (torch.nn.functional.avg_pool2d(v, 9, 1, 4, count_include_pad=False) for v in (grey, grey**2))
    return (square - mean**2).clamp(min=0).sqrt() < FLAT


def noise_sigma(x: np.ndarray) -> float:
    """Estimate the white noise of (H, W, 3) by the median of a Laplacian (after Immerkaer, 1996)."""
    x = x.mean(2) * np.sqrt(3)
    second = x[:-2] - 2 * x[1:-1] + x[2:]
    second = second[:, :-2] - 2 * second[:, 1:-1] + second[:, 2:]
    return float(np.median(np.abs(second))) / 0.6745 / 6


def denoise(x: Tensor) -> Tensor:
    """Smooth by total variation, as much as the measured noise asks for."""
    pixels = x[0].permute(1, 2, 0).numpy()
    sigma = max(noise_sigma(pixels), 1e-4)  # JPEG can leave none
    smooth = denoise_tv_chambolle(pixels, weight=WEIGHT * sigma, max_num_iter=50, channel_axis=2)
    return torch.from_numpy(smooth).permute(2, 0, 1)[None].float().clamp(0, 1)


def f_and_rivals(model: golfdeblur.Model) -> Restored:
    """Return what a model's F makes of a picture, alone and with the denoiser before and after it."""

    def f(x: Tensor) -> Tensor:
        pixels = (255 * x[0]).round().byte().permute(1, 2, 0).numpy()
        return torch.from_numpy(model.deblur(pixels, steps=0)).permute(2, 0, 1)[None] / 255

    def restored(y: Tensor) -> dict[str, Tensor]:
        x = f(y)
        return {"F": x, "denoised, then F": f(denoise(y)), "F, then denoised": denoise(x)}

    return restored


def psnr(x: Tensor, sharp: Tensor) -> float:
    """Return the PSNR in dB."""
    return metrics.psnr(*(np.ascontiguousarray((255 * v[0]).round().byte().permute(1, 2, 0)) for v in (x, sharp)))


def measure(pairs: list[Pair], restored: Restored, data: str) -> Iterator[Row]:
    """Yield a row for each fault."""
    still = [restored(blurry) for blurry, _ in pairs]
    methods = list(still[0])
    for fault, (damage, amount) in FAULTS.items():
        before, gains, noises = [], {name: [] for name in methods}, {name: [] for name in methods}
        for number, pair in enumerate(pairs):
            y, sharp = pair if damage is None else damage(pair, amount, torch.Generator().manual_seed(number))
            before.append(psnr(y, sharp))
            where = flat(pair[1]).expand_as(y)
            added = (y - pair[0])[where].std()
            for name, x in (still[number] if damage is None else restored(y)).items():
                gains[name].append(psnr(x, sharp) - before[-1])
                if damage not in (None, clipped) and where.float().mean() > 0.01:
                    noises[name].append(float((x - still[number][name])[where].std() / added))
        yield Row(
            fault,
            data,
            len(pairs),
            round(float(np.mean(before)), 2),
            {name: round(float(np.mean(values)), 2) for name, values in gains.items()},
            {name: round(float(np.mean(values)), 2) if values else None for name, values in noises.items()},
        )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    methods = list(rows[0].gain_db)
    head = ["set", "fault", "input dB", *(f"{m}: gain dB" for m in methods), *(f"{m}: noise" for m in methods)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        noise = ("–" if (v := row.noise[m]) is None else f"{v:.2f}" for m in methods)
        cells = [row.data, row.fault, f"{row.input_db:.2f}", *(f"{row.gain_db[m]:+.2f}" for m in methods), *noise]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write OUT/noise.json and OUT/noise.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", default="fast", help="a name or a model folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--most", type=int, default=MOST, help="pictures of each set")
    given = parser.parse_args()
    restored = f_and_rivals(golfdeblur.load(given.model))
    sets = {
        "reds_val": real(given.data / "reds_val"),
        "gopro_avg": real(given.data / "gopro_avg_train"),
        "shaken val": shaken(given.sets / "val" / "shaken"),
    }
    rows = []
    for name, pairs in sets.items():
        for row in measure(pairs[: given.most], restored, name):
            rows.append(row)
            print(table([row]).splitlines()[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "noise.json").write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    text = (__doc__ or "").split("\n\n")
    (given.out / "noise.md").write_text(f"# Noise, JPEG and clipped lights\n\n{text[0]} {text[1]}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
