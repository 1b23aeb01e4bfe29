"""Make docs/pictures/before-after.jpg: the example, blurry and deblurred, with a crop at 100 % beneath each."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import golfdeblur

ROOT = Path(__file__).parent.parent.parent
CROP = (330, 180, 810, 480)


def panel(picture: Image.Image, label: str) -> Image.Image:
    """Return the whole picture above its crop, in one width, labelled."""
    crop = picture.crop(CROP)
    whole = picture.resize((crop.width, round(picture.height * crop.width / picture.width)), Image.Resampling.LANCZOS)
    out = Image.new("RGB", (crop.width, whole.height + crop.height + 6), "white")
    out.paste(whole, (0, 0))
    out.paste(crop, (0, whole.height + 6))
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(size=24)
    draw.text((12, 10), label, fill="white", font=font, stroke_width=3, stroke_fill="black")
    return out


def main() -> None:
    """Write the picture."""
    blurry = Image.open(ROOT / "examples" / "walkway.jpg")
    sharp = golfdeblur.load().deblur(blurry)
    left, right = panel(blurry, "blurry photo"), panel(sharp, "golfdeblur")
    sheet = Image.new("RGB", (2 * left.width + 6, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + 6, 0))
    sheet.save(Path(__file__).parent / "before-after.jpg", quality=90)


main()
