"""Render pages and signs, whose text is known, with free fonts: a scan or a road sign before anything shook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXTS = Path(__file__).parent / "texts"
FONTS = Path("/usr/share/fonts/truetype")
FACES = (
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSerif.ttf",
    "liberation/LiberationSerif-Regular.ttf",
    "liberation/LiberationSans-Bold.ttf",
    "liberation/LiberationMono-Regular.ttf",
    "noto/NotoSans-Regular.ttf",
    "noto/NotoSerif-Regular.ttf",
)
"""Of Debian's fonts-dejavu, fonts-liberation and fonts-noto-core; Pillow's own font takes the place of missing ones."""

PAGE_SIZES_PX, SIGN_SIZES_PX = (15, 26), (30, 54)
MARGIN_PX = 28
SIGNS = {
    "val": "No parking,Ring twice,Platform 7,Main Street 48,Fresh bread,Mind the step,Open 9 to 18,Exit on the left,"
    "Speed limit 30,Lost and found,Camera shop,Beware of the dog,Bus stop,No entry,Wet paint",
    "test": "Keep off the grass,Deep water,Gate 12,Station Road 5,Rooms to let,Town hall 2 miles,Push the button,"
    "Closed on Monday,Toll bridge,School crossing,New moon cinema,Book shop,Taxi rank,One way,Do not feed",
}
COLOURS = (
    ((250, 250, 248), (20, 20, 24)),
    ((0, 61, 153), (245, 245, 245)),
    ((0, 105, 60), (250, 250, 250)),
    ((245, 196, 0), (15, 15, 15)),
    ((170, 20, 30), (255, 255, 255)),
)
"""Of signs: background and letters."""


@dataclass(frozen=True)
class Page:
    """A rendered page: (H, W, 3) uint8, its text by lines, and the font's name and size."""

    pixels: np.ndarray
    text: str
    font: str
    is_sign: bool


def render(split: str, index: int, size: tuple[int, int], *, edge_px: int) -> Page:
    """Render page `index` of a split, every fourth a sign; `size` is (W, H), around which `edge_px` are bare."""
    random = np.random.default_rng([index, len(split)])
    is_sign = index % 4 == 3
    low, high = SIGN_SIZES_PX if is_sign else PAGE_SIZES_PX
    size_px = int(random.integers(low, high + 1))
    font, name = load_font(FACES[index % len(FACES)], size_px)
    if is_sign:
        lines = [str(line) for line in random.choice(SIGNS[split].split(","), 3, replace=False)]
        paper, ink = COLOURS[index // 4 % len(COLOURS)]
    else:
        paragraphs = (TEXTS / f"{split}.txt").read_text(encoding="utf-8").strip().split("\n\n")
        words = " ".join(paragraphs[(index + i) % len(paragraphs)] for i in range(4)).split()
        lines = wrap(words, font, size[0] - 2 * MARGIN_PX)
        shade, dark = int(random.integers(215, 253)), int(random.integers(5, 70))
        paper, ink = (shade, shade - 3, shade - 10), (dark, dark, dark)
    step = int(1.35 * size_px)
    lines = lines[: (size[1] - 2 * MARGIN_PX) // step]
    canvas = Image.new("RGB", (size[0] + 2 * edge_px, size[1] + 2 * edge_px), paper)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((edge_px + MARGIN_PX, edge_px + MARGIN_PX + number * step), line, ink, font)
    return Page(np.asarray(canvas), "\n".join(lines), f"{name} {size_px}", is_sign)


def load_font(face: str, size_px: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, str]:
    """Return a font and its name: Pillow's own where Debian's is missing."""
    path = FONTS / face
    if path.is_file():
        return ImageFont.truetype(path, size_px), path.stem
    return ImageFont.load_default(size_px), "Pillow"


def wrap(words: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float) -> list[str]:
    """Break words into lines of at most `width_px`; the last, unfinished line is left out."""
    lines, line = [], ""
    for word in words:
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width_px:
            lines.append(line)
            line = word
        else:
            line = longer
    return lines
