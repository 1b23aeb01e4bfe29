"""Make the sets by which the deconvolution is chosen and judged, always the same.

Split by scene: of the photographs that no F is trained on (every 13th of a folder) the even ones go to `val`, the odd
ones to `test`; so do REDS scenes and GoPro sequences. OUT/SPLIT/SET holds blur/, sharp/ and, where one kernel explains
the picture, kernel/NAME.npy (y = k * x, its middle pixel the origin); meta.json tells how each was made. Needs the
extra `train`; `make sets`.

    python research/deconvolution/sets.py DATA OUT [SPLIT/SET ...]
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nf
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import pages

from golfdeblur.learning import blur, camera, data, kernels, sources, uniform

WIDE, TALL = 640, 480
MOST_REDUCED = 1.6
EXTENT_PX, PAGE_EXTENT_PX, RADIUS_PX = (6.0, 60.0), (6.0, 30.0), (2.0, 10.0)
ISO, QUALITY = (100.0, 6400.0), (70.0, 98.0)
BRIGHT = 0.4
"""Share with clipped lights of the pictures blurred in linear light, so a fifth of all."""
COUNT, FEW = 216, 60
MOVING_SIDE = 448
SPLITS = {"val": 0, "test": 1}
REDS = {"val": ("reds_train/000", "reds_train/001", "reds_val"), "test": ("reds_train/020",)}
GOPRO = {"val": ("GOPR0374", "GOPR0384"), "test": ("GOPR0477",)}


@dataclass(frozen=True)
class Example:
    """One picture of a set: blurry and sharp, (1, 3, H, W) in [0, 1], its (K, K) kernel, and how it was made."""

    name: str
    blurry: Tensor
    sharp: Tensor
    kernel: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def shaken(source: Path, split: str) -> Iterator[Example]:
    """Blur photographs by all generators of shake, half in linear light by a camera, half in sRGB as it is stored."""
    photos = held_out(source, split)
    for index in range(COUNT):
        generator = sources.seeded_generator(1, SPLITS[split], index)
        photo, kind = photos[index % len(photos)], list(kernels.GENERATORS)[index // len(photos) % 3]
        light = "linear" if index // (3 * len(photos)) % 2 else "srgb"
        kernel = kernels.trimmed(kernels.GENERATORS[kind](generator, 1, EXTENT_PX)[0])
        scene = crop(photo, generator, len(kernel) // 2)
        blurry, sharp, facts = expose(scene, kernel, light, generator)
        name = f"{index:03}-{Path(photo.name).stem}-{kind}-{light}"
        yield Example(name, blurry, sharp, kernel, {"generator": kind, "extent_px": extent(kernel), **facts})


def defocused(source: Path, split: str) -> Iterator[Example]:
    """Put photographs out of focus as a whole, and photograph them."""
    photos = held_out(source, split)
    for index in range(FEW):
        generator = sources.seeded_generator(2, SPLITS[split], index)
        photo = photos[index % len(photos)]
        kernel = kernels.trimmed(uniform.random_discs(generator, 1, RADIUS_PX)[0])
        scene = crop(photo, generator, len(kernel) // 2)
        blurry, sharp, facts = expose(scene, kernel, "linear", generator)
        facts = {"generator": "disc", "extent_px": extent(kernel), **facts}
        yield Example(f"{index:03}-{Path(photo.name).stem}", blurry, sharp, kernel, facts)


def sharp(source: Path, split: str) -> Iterator[Example]:
    """Show sharp photographs: half of them as they are, half with a camera's faults."""
    photos = held_out(source, split)
    for index in range(COUNT):
        generator = sources.seeded_generator(3, SPLITS[split], index)
        photo = photos[index % len(photos)]
        scene = crop(photo, generator, 0)
        if index // len(photos) % 2:
            blurry, truth, facts = expose(scene, torch.ones(1, 1), "linear", generator)
        else:
            blurry, truth, facts = scene, scene, {"light": "srgb", "noise": 0.0}
        yield Example(f"{index:03}-{Path(photo.name).stem}", blurry, truth, None, facts)


def text(source: Path, split: str) -> Iterator[Example]:
    """Shake rendered pages and signs; facts["text"] is what is written on them."""
    for index in range(FEW):
        generator = sources.seeded_generator(4, SPLITS[split], index)
        kind = list(kernels.GENERATORS)[index % 3]
        light = "linear" if index // 3 % 2 else "srgb"
        kernel = kernels.trimmed(kernels.GENERATORS[kind](generator, 1, PAGE_EXTENT_PX)[0])
        page = pages.render(split, index, (WIDE, TALL), edge_px=len(kernel) // 2)
        scene = torch.from_numpy(page.pixels).permute(2, 0, 1)[None] / 255
        blurry, truth, facts = expose(scene, kernel, light, generator, bright=False)
        facts = {"generator": kind, "extent_px": extent(kernel), **facts, "font": page.font, "text": page.text}
        yield Example(f"{index:03}-{'sign' if page.is_sign else 'page'}-{kind}-{light}", blurry, truth, kernel, facts)


def moving(source: Path, split: str) -> Iterator[Example]:
    """Show what no single kernel explains: real pairs, then objects that move and cameras that turn."""
    count = 0
    for example in real_pairs(source, split):
        yield replace(example, name=f"{count:03}-{example.name}")
        count += 1
    photos = held_out(source, split)
    while count < COUNT:
        generator = sources.seeded_generator(5, SPLITS[split], count)
        how = (layered, turning)[count // 2 % 2]
        chosen = [photos[(count + i) % len(photos)] for i in range(2)]
        blurry, truth = how(chosen, generator)
        for i in range(min(2, COUNT - count)):
            name = f"{count + i:03}-{Path(chosen[i].name).stem}-{how.__name__}"
            yield Example(name, blurry[i : i + 1], truth[i : i + 1], facts={"source": how.__name__})
        count += 2


def real_pairs(source: Path, split: str) -> Iterator[Example]:
    """Cut the left and the right of each REDS and GoPro pair of the split."""
    for folder in (*REDS[split], "gopro_avg_train"):
        for blurry, truth, name in data.load_pairs(source / folder):
            if folder == "gopro_avg_train" and not name.startswith(GOPRO[split]):
                continue
            for side, left in (("left", 0), ("right", blurry.shape[2] - WIDE)):
                top = (blurry.shape[1] - TALL) // 2
                both = (x[None, :, top : top + TALL, left : left + WIDE] / 255 for x in (blurry, truth))
                yield Example(f"{folder.replace('/', '-')}-{Path(name).stem}-{side}", *both, facts={"source": folder})


def layered(photos: list[data.Photo], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blur by the training's model, each with an object of the other photo that moves before it."""
    config = blur.BlurConfig(length_px=(4, 40), layers=1.0, linear_light=0.5, jpeg=0.3, noisy=0.3)
    scenes = torch.cat([crop(p, generator, config.margin_px, (MOVING_SIDE, MOVING_SIDE)) for p in photos])
    return blur.random_pairs(scenes, generator, config, size_px=MOVING_SIDE)


def turning(photos: list[data.Photo], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blur by cameras that turn by 1 to 4 degrees and zoom by up to 3 %, about points within the pictures."""
    config = blur.BlurConfig(length_px=(2, 16), spin_degrees=4, zoom=0.03, centre_px=MOVING_SIDE / 3)
    path = blur.random_paths(generator, len(photos), config)
    share, sign, linear = torch.rand(3, len(photos), generator=generator)
    spin = (math.radians(1) + share * math.radians(3)) / 2
    path = replace(path, spin=torch.where(sign < 0.5, -spin, spin))
    gamma = torch.where(linear < 0.5, blur.GAMMA, 1.0)[:, None, None, None]
    scenes = torch.cat([crop(p, generator, config.margin_px, (MOVING_SIDE, MOVING_SIDE)) for p in photos])
    exposure = blur.Exposure(19, samples=1)
    frames = blur.average_frames(scenes**gamma, path, exposure, size_px=MOVING_SIDE, clip=True)
    blurry, truth = (x.clamp(0, 1) ** (1 / gamma) for x in frames)
    return (blurry + 0.004 * torch.randn(blurry.shape, generator=generator)).clamp(0, 1), truth


def held_out(source: Path, split: str) -> list[data.Photo]:
    """Read the photographs of a split."""
    return [p for f in ("photos", "urban") for p in data.load_photos(source / f, held_out=True)[SPLITS[split] :: 2]]


def crop(photo: data.Photo, generator: torch.Generator, edge_px: int, size: tuple[int, int] | None = None) -> Tensor:
    """Cut (1, 3, H + 2 edge_px, W + 2 edge_px), reduced up to 1.6 times: of three places the one with most texture.

    `size` is (H, W), by default 480 x 640 or upright; less where the photograph is smaller.
    """
    height, width = photo.pixels.shape[-2:]
    tall, wide = size or ((TALL, WIDE) if width >= height else (WIDE, TALL))
    tall, wide = min(tall + 2 * edge_px, height), min(wide + 2 * edge_px, width)
    draws = torch.rand(7, generator=generator).tolist()
    reduced = min(1 + (MOST_REDUCED - 1) * draws[0], height / tall, width / wide)
    rows, columns = int(tall * reduced), int(wide * reduced)
    places = [
        (int(a * (height - rows)), int(b * (width - columns))) for a, b in zip(draws[1::2], draws[2::2], strict=True)
    ]

    def texture(place: tuple[int, int]) -> float:
        top, left = (n // 32 for n in place)
        return float(photo.gradient[top : top + rows // 32, left : left + columns // 32].mean())

    top, left = max(places, key=texture)
    pixels = photo.pixels[None, :, top : top + rows, left : left + columns].float()
    return nf.interpolate(pixels, (tall, wide), mode="bicubic", antialias=True).round().clamp(0, 255) / 255


def expose(
    scene: Tensor, kernel: Tensor, light: str, generator: torch.Generator, *, bright: bool | None = None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Blur `scene`: `linear` with a camera's faults, `srgb` with little noise; return both pictures and the facts."""
    if light == "srgb":
        sigma = 0.002 + 0.008 * float(torch.rand((), generator=generator))
        y = convolve(scene, kernel)
        y = (y + sigma * torch.randn(y.shape, generator=generator)).clamp(0, 1)
        return y, within(scene, kernel), {"light": light, "noise": round(sigma, 5), "jpeg": None}
    drawn, gain, compressed, quality, share = torch.rand(5, generator=generator).tolist()
    if bright is None:
        bright = drawn < BRIGHT
    iso = float(uniform.log_uniform(generator, 1, ISO))
    q = round(QUALITY[0] + (QUALITY[1] - QUALITY[0]) * quality)
    config = camera.CameraConfig(
        iso=(iso, iso),
        bright=float(bright),
        light_gain=(2 + 6 * gain, 2 + 6 * gain),
        jpeg=float(compressed < 0.7),
        jpeg_quality=(q, q),
    )
    if bright:
        # The brightest 0.5 to 2 % are cut off.
        scene = camera.to_srgb(
            camera.to_linear(scene) / camera.to_linear(lightness(scene).quantile(0.98 + 0.015 * share))
        )
        scene = scene.clamp(0, 1)
    contrast = camera.random_contrast(generator, 1, config)
    seen = camera.to_light(scene, generator, config, contrast=contrast)
    y = camera.photograph(convolve(seen, kernel).clamp(min=0), generator, config, contrast=contrast)
    facts = {"light": light, "iso": round(iso), "jpeg": q if config.jpeg else None, "clipped_lights": bool(bright)}
    return y, camera.develop(within(seen, kernel), contrast), facts


def lightness(x: Tensor) -> Tensor:
    """Return the largest colour of every fourth pixel each way, flat."""
    return x[..., ::4, ::4].amax(1).flatten()


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Return `uniform.convolve` by Fourier transforms: k * x where the kernel lies inside."""
    shape, reach = x.shape[-2:], len(kernel) - 1
    spectrum = torch.fft.rfft2(x.double()) * torch.fft.rfft2(kernel.double(), shape)
    return torch.fft.irfft2(spectrum, shape)[..., reach:, reach:].float()


def within(x: Tensor, kernel: Tensor) -> Tensor:
    """Return the part of `x` that k * x shows."""
    edge = len(kernel) // 2
    return x[..., edge : x.shape[-2] - edge, edge : x.shape[-1] - edge]


def extent(kernel: Tensor) -> float:
    """Return the diagonal of the box that holds the kernel, in px, less the one that sharing out points adds."""
    used = kernel.nonzero()
    return round(float((used.amax(0) - used.amin(0) - 1).clamp(min=0).float().norm()), 1)


def write(examples: Iterator[Example], folder: Path) -> int:
    """Write a set and return how many pictures it has."""
    facts = {}
    for part in ("blur", "sharp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for example in examples:
        for part, x in (("blur", example.blurry), ("sharp", example.sharp)):
            pixels = (255 * x[0]).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / part / f"{example.name}.png", compress_level=1)
        if example.kernel is not None:
            (folder / "kernel").mkdir(exist_ok=True)
            np.save(folder / "kernel" / f"{example.name}.npy", example.kernel.numpy())
        facts[example.name] = example.facts
    (folder / "meta.json").write_text(json.dumps(facts, indent=1) + "\n")
    return len(facts)


SETS = {make.__name__: make for make in (shaken, moving, sharp, text, defocused)}


def main(source: Path, out: Path, wanted: list[str]) -> None:
    """Write all sets, or those `wanted`, as val/shaken."""
    torch.set_num_threads(1)  # the same sums everywhere
    for split in SPLITS:
        for name, make in SETS.items():
            if not wanted or f"{split}/{name}" in wanted:
                print(f"{split}/{name}: {write(make(source, split), out / split / name)} pictures", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
