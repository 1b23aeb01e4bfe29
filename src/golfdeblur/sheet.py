"""Pictures side by side on one sheet, with labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from golfdeblur.files.picture import Picture, from_pil


def side_by_side(picture: Picture, strokes_: Iterable[Picture], *, height_px: int = 480) -> Picture:
    """Return one picture of the input and every stroke side by side, labelled, at most `height_px` high."""
    font = ImageFont.load_default(size=20)
    panels = []
    for index, shown in enumerate(itertools.chain([picture], strokes_)):
        panel = Image.fromarray(np.broadcast_to(shown.in_8_bits().colour, (*shown.colour.shape[:2], 3)).copy())
        panel.thumbnail((10 * height_px, height_px), Image.Resampling.LANCZOS)
        panels.append(("input" if index == 0 else f"x{index - 1}", panel))
    gap, bar = 6, 28
    width = sum(max(p.width, 60) + gap for _, p in panels) - gap
    sheet = Image.new("RGB", (width, max(p.height for _, p in panels) + bar), "white")
    draw, left = ImageDraw.Draw(sheet), 0
    for label, panel in panels:
        draw.text((left + 4, 2), label, fill="black", font=font)
        sheet.paste(panel, (left, bar))
        left += max(panel.width, 60) + gap
    return from_pil(sheet)


def grid(rows: list[list[tuple[str, np.ndarray]]]) -> Image.Image:
    """Show labelled crops, (H, W, 3) uint8 of one size, side by side; one line for each row."""
    bar, gap = 22, 4
    font = ImageFont.load_default(size=14)
    height, width = rows[0][0][1].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, len(rows) * (height + bar + gap) - gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, (label, pixels) in enumerate(row):
            left, top = j * (width + gap), i * (height + bar + gap)
            draw.text((left + 3, top + 2), label, fill="black", font=font)
            sheet.paste(Image.fromarray(pixels), (left, top + bar))
    return sheet
