"""`golf data`: training pairs on disk, to look at and to share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur.cli.app import app, needs_extra, progress
from golfdeblur.errors import ConfigError

data_app = typer.Typer(no_args_is_help=True, help="Make pairs of blurry and sharp images from photos or video.")
app.add_typer(data_app, name="data")

OutOption = Annotated[Path, typer.Option("--out", help="The folder for blur/ and sharp/; it must not hold pairs yet.")]
LightOption = Annotated[
    str, typer.Option("--light", help="srgb averages pixel values, as GoPro's blur does; linear averages light.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same pairs.")]


@data_app.command("pairs-from-photos")
def pairs_from_photos(
    folder: Annotated[Path, typer.Argument(help="A folder of sharp photographs.")],
    out: OutOption,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many pairs.")] = 100,
    light: LightOption = "srgb",
    size_px: Annotated[int, typer.Option("--size", min=16, help="Width and height of the pairs in pixels.")] = 256,
    seed: SeedOption = 0,
) -> None:
    """Blur crops of sharp photographs as training does, and write both sides."""
    with needs_extra("train"):
        from golfdeblur.learning import pairs
    _check_empty(out)
    made = pairs.pairs_from_photos(folder, count=count, light=light, size_px=size_px, seed=seed)
    _write_all(made, count, out)


@data_app.command("pairs-from-video")
def pairs_from_video(
    clip: Annotated[Path, typer.Argument(help="A sharp high-speed video, for example 240 frames a second.")],
    out: OutOption,
    frames: Annotated[str, typer.Option("--frames", help="How many frames are averaged, LEAST-MOST.")] = "7-13",
    light: LightOption = "srgb",
    seed: SeedOption = 0,
) -> None:
    """Average runs of frames; the middle frame of each is its sharp image."""
    with needs_extra("train"):
        from golfdeblur.learning import pairs
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", frames)
    if not found:
        raise ConfigError(f"--frames is '{frames}'; write for example 7-13, or 11 for always 11.")
    _check_empty(out)
    least = int(found[1])
    most = int(found[2] or least)
    made = pairs.pairs_from_video(clip, frames=(least, most), light=light, seed=seed)
    _write_all(made, None, out)


def _check_empty(out: Path) -> None:
    if any((out / part).is_dir() and any((out / part).iterdir()) for part in ("blur", "sharp")):
        raise ConfigError(f"{out} holds pairs already; give a new folder.")


def _write_all(made: Iterator[Any], count: int | None, out: Path) -> None:
    from golfdeblur.learning import data, pairs

    statistics = []
    for pair in progress(made, count, "Writing pairs", quiet=False):
        pairs.write_pair(pair, out)
        statistics.append(data.statistics(pair[0][None].float() / 255, pair[1][None].float() / 255))
    mean = {name: sum(row[name] for row in statistics) / len(statistics) for name in statistics[0]}
    print(
        f"{len(statistics)} pairs in {out}: PSNR of blurry against sharp {mean['psnr_db']:.1f} dB, "
        f"gradient {mean['gradient']:.1f} ({mean['gradient_ratio']:.2f} of it left in the blurry images)"
    )
