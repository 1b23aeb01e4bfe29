"""Make what K and J learn from: windows that were shaken, and others, with kernels as they are found and their strokes.

Of `train` photographs are those that F learnt from, of `val` those of the set `val` (sets.py). Each example is a kernel
of one window: what K sees before and after that kernel's stroke, the true kernel where there is one, what J sees of the
stroke, and the errors before and after it. Needs the extra `train`; 2,500 examples took two busy cores half an hour.

    python research/deconvolution/examples.py DATA OUT MINUTES SEED train|val
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pages
import sets
import torch
import torch.nn.functional as nf
from torch import Tensor

import golfdeblur
from golfdeblur.deconvolution import estimation, light, pyramid
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine import scales
from golfdeblur.engine.deconvolving import Deconvolution, Deconvolver, as_grey
from golfdeblur.learning import camera, data, jpeg, kernels, strokes, uniform

SIDE = estimation.FINDER_PX
SIDES_PX = {256: 0.55, 320: 0.30, 448: 0.15}
SMALLEST_PX = 512
EXTENT_PX, RADIUS_PX = (5.0, 55.0), (2.0, 10.0)
KINDS = {"shaken": 0.56, "text": 0.08, "defocused": 0.06, "sharp": 0.08, "moving": 0.22}
CANDIDATES = {"K": 0.5, "blind": 0.6, "disturbed": 0.25, "true": 0.12}
"""How often: K's kernel, that of y alone and what K makes of it, the true one with a reading's errors, the true one."""

REDUCED, MOST_REDUCED, SOFT, GREY, WRONG_LIGHT, CLIPPED, QUIET = 0.5, 1.8, 0.3, 0.15, 0.2, 0.2, 0.15
CAMERA = camera.CameraConfig(iso=(50.0, 6400.0), jpeg=0.6, sharpened=0.15, denoised=0.2)
SHIFT_PX, BLOCK_PX = 3, 32


@dataclass(frozen=True)
class Window:
    """A blurry and a sharp picture, (1, 3, H, W), and the kernel between them, if there is one."""

    kind: str
    y: Tensor
    sharp: Tensor
    kernel: Tensor | None
    linear: bool


class Windows:
    """Draws windows of all kinds."""

    def __init__(self, source: Path, seed: int, split: str) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        held = split == "val"
        found = [p for f in ("photos", "urban") for p in data.load_photos(source / f, held_out=held)]
        self.photos = [p for p in found[:: 2 if held else 1] if min(p.pixels.shape[1:]) >= SMALLEST_PX]
        folders = () if held else ("reds_train/000", "reds_train/001", "gopro_avg_train")
        pairs = (pair for folder in folders for pair in data.load_pairs(source / folder))
        self.pairs = [pair for pair in pairs if not pair[2].startswith(sets.GOPRO["test"])]

    def __iter__(self) -> Iterator[Window]:
        while True:
            kind, side = self.chosen(KINDS), self.chosen(SIDES_PX)
            yield (self.moving if kind == "moving" else self.sharp if kind == "sharp" else self.blurred)(kind, side)

    def draw(self) -> float:
        """Return a number from 0 to 1."""
        return float(torch.rand((), generator=self.generator))

    def below(self, count: int) -> int:
        """Return a whole number from 0 on, below `count`."""
        return int(torch.randint(max(count, 1), (), generator=self.generator))

    def chosen(self, shares: dict) -> int | str:
        """Return one of the keys."""
        return list(shares)[int(torch.multinomial(torch.tensor(list(shares.values())), 1, generator=self.generator))]

    def cut(self, side: int) -> Tensor:
        """Cut (1, 3, side, side) from a photograph, half of them reduced by up to MOST_REDUCED."""
        pixels = self.photos[self.below(len(self.photos))].pixels
        reduced = 1 + (MOST_REDUCED - 1) * self.draw() if self.draw() < REDUCED else 1.0
        given = int(side * min(reduced, min(pixels.shape[1:]) / side))
        top, left = (self.below(n - given + 1) for n in pixels.shape[1:])
        x = pixels[None, :, top : top + given, left : left + given].float()
        if given != side:
            x = nf.interpolate(x, (side, side), mode="bicubic", antialias=True).round().clamp(0, 255)
        return x / 255

    def blurred(self, kind: str, side: int) -> Window:
        """Blur a photograph or a page by one kernel."""
        kernel = self.disc() if kind == "defocused" else self.shake()
        if kind == "text":
            page = pages.render("val", self.below(10**6), (side, side), edge_px=SIDE // 2).pixels
            x = torch.from_numpy(page).permute(2, 0, 1)[None].float() / 255
        else:
            x = self.cut(side + SIDE - 1)
        if self.draw() < GREY:
            x = x.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
        linear = self.draw() < 0.5
        return Window(kind, self.exposed(x, kernel, linear), sets.within(x, kernel), kernel, linear)

    def sharp(self, kind: str, side: int) -> Window:
        """Show a sharp photograph as it is or with a camera's faults."""
        x = self.cut(side)
        y = self.exposed(x, torch.ones(1, 1), self.draw() < 0.5) if self.draw() < 0.6 else x
        return Window(kind, y, x, None, self.draw() < 0.5)

    def moving(self, kind: str, side: int) -> Window:
        """Show what no single kernel explains: a real pair, objects that move, a camera that turns."""
        if self.pairs and self.draw() < 0.5:
            both = tuple(x[None].float() / 255 for x in self.pairs[self.below(len(self.pairs))][:2])
        else:
            chosen = [self.photos[self.below(len(self.photos))] for _ in range(2)]
            both = (sets.layered if self.draw() < 0.6 else sets.turning)(chosen, self.generator)
        top, left = (self.below(n - side + 1) for n in both[0].shape[2:])
        y, x = (part[:1, :, top : top + side, left : left + side] for part in both)
        return Window(kind, y, x, None, self.draw() < 0.5)

    def disc(self) -> Tensor:
        """Draw a (SIDE, SIDE) disc."""
        disc = uniform.random_discs(self.generator, 1, RADIUS_PX)[0]
        padded = nf.pad(disc, ((SIDE - len(disc)) // 2,) * 4)
        return padded / padded.sum()

    def shake(self) -> Tensor:
        """Draw a (SIDE, SIDE) kernel of any generator that lies inside of it but for 3 % of its light."""
        while True:
            make = list(kernels.GENERATORS.values())[self.below(3)]
            kernel = make(self.generator, 1, EXTENT_PX)[0]
            inside = nf.pad(kernel, ((SIDE - len(kernel)) // 2,) * 4)
            if inside.sum() >= 0.97 * kernel.sum():
                inside = strokes.soft(inside, 0.3 + 0.6 * self.draw()) if self.draw() < SOFT else inside
                return inside / inside.sum()

    def exposed(self, x: Tensor, kernel: Tensor, linear: bool) -> Tensor:
        """Blur by a camera, or as it is stored with noise of a wide range and sometimes JPEG."""
        if linear:
            if self.draw() < CLIPPED:
                top = sets.lightness(camera.to_linear(x)).quantile(0.975 + 0.02 * self.draw())
                x = camera.to_srgb(camera.to_linear(x) / top).clamp(0, 1)
            seen = camera.to_light(x, self.generator, CAMERA)
            return camera.photograph(uniform.convolve(seen, kernel).clamp(min=0), self.generator, CAMERA)
        y = uniform.convolve(x, kernel)
        quiet, compressed = self.draw() < QUIET, self.draw() < 0.25
        sigma = 10 ** (self.draw() - 3.5 if quiet else 1.5 * self.draw() - 3)
        y = (y + sigma * torch.randn(y.shape, generator=self.generator)).clamp(0, 1)
        return (255 * (jpeg.jpeg(y, 60 + 38 * self.draw()) if compressed and not quiet else y)).round() / 255


def candidates(windows: Windows, window: Window, reader: estimation.Reader, maps: np.ndarray, x0: np.ndarray) -> dict:
    """Return taps by where they come from."""
    found = {}
    for name, share in CANDIDATES.items():
        if windows.draw() >= share:
            continue
        if name == "K":
            found[name] = reader.found(maps, x0)
        elif name == "blind":
            found[name] = estimation.placed(pyramid.blind_taps(reader.y, SIDE), x0, reader.y)
        elif window.kernel is not None:
            given = strokes.disturbed(window.kernel, windows.generator) if name == "disturbed" else window.kernel
            found[name] = estimation.placed(given.numpy(), x0, reader.y)
    return found


def error(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the squared error of a plane where the truth, moved by up to SHIFT_PX, fits it best, by blocks."""
    reach = range(-SHIFT_PX, SHIFT_PX + 1)
    errors = ((x - np.roll(truth, (down, right), (0, 1))) ** 2 for down in reach for right in reach)
    best = min(errors, key=lambda e: float(e[8:-8, 8:-8].mean()))
    height, width = (n // 64 * 64 for n in best.shape)
    cells = best[:height, :width].reshape(height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    return cells.mean((1, 3))


def main(source: Path, out: Path, minutes: float, seed: int, split: str) -> None:
    """Write as many examples as can be made in `minutes`."""
    torch.set_num_threads(1)
    model, windows = golfdeblur.load(), Windows(source, seed, split)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for index, window in enumerate(windows):
        if time.monotonic() - started > 60 * minutes:
            return
        y, sharp = (np.ascontiguousarray(x.numpy(), np.float32) for x in (window.y, window.sharp))
        x0, half = model.f(y), scales.half(y, multiple=2)
        right = window.kernel is not None and windows.draw() >= WRONG_LIGHT
        name = "linear" if window.linear == right else "srgb"
        strokes_of = Deconvolver(y, model.f, Deconvolution(), model.stroke)
        reader = estimation.Reader(as_grey(y, name), strokes_of.noise, model.stroke.finder)
        first = reader.first_maps(as_grey(x0, name), as_grey(model.f(half), name), as_grey(half, name))
        planes = [light.luminance(p[0]) for p in (np.clip(x0, 0, 1), y, sharp)]
        todo = candidates(windows, window, reader, first, as_grey(x0, name))
        while todo:
            what, taps = todo.popitem()
            x1 = strokes_of.window(y, x0, Kernel(taps, name))
            made, again = light.luminance(x1[0]), light.luminance(model.f(x1)[0])
            seen = np.stack([planes[0], made - planes[0], planes[1] - planes[0], again - made])
            following = reader.next_maps(as_grey(x1, name), taps)
            if what == "blind":
                todo["again"] = reader.found(following, as_grey(x1, name))
            written = {
                "seen": seen.astype(np.float16),
                "before": error(planes[0], planes[2]),
                "after": error(made, planes[2]),
                "first": first.astype(np.float16),
                "next": following.astype(np.float16),
                "kernel": np.zeros((0, 0)) if not right else window.kernel.numpy().astype(np.float16),
            }
            np.savez(out / f"{seed}-{index:05}-{window.kind}-{what}.npz", **written)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
