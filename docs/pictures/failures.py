"""Make docs/pictures/failures.jpg: what the model does not repair, input, result and truth side by side at 100 %.

Needs the extra `train`. The truth is the sharp example photo; the faults are made from it.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import golfdeblur
from golfdeblur.files import image
from golfdeblur.learning import blur, motion, uniform

ROOT = Path(__file__).parent.parent.parent
SIZE = 512
CROP = (110, 150, 410, 370)


def moved(light: Tensor, length_px: float) -> Tensor:
    """Return the middle SIZE pixels of linear `light` under a straight sideways motion."""
    zero = torch.zeros(1)
    path = motion.CameraPath(
        torch.tensor([[length_px / 2, 0.15 * length_px]]), torch.zeros(1, 2), zero, zero, torch.zeros(1, 2)
    )
    return motion.average_frames(light, path, motion.Exposure(13, samples=5), size_px=SIZE)[0]


def pixels(x: Tensor) -> Image.Image:
    """Return (1, 3, H, W) in [0, 1] as a picture."""
    return Image.fromarray((255 * x[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())


def main() -> None:
    """Write the picture."""
    photo = image.read_rgb8(ROOT / "examples" / "walkway-sharp.jpg")
    top, left = (photo.shape[0] - 700) // 2, 300
    sharp = torch.from_numpy(photo[top : top + 700, left : left + 700].copy()).permute(2, 0, 1)[None].float() / 255
    light = sharp**blur.GAMMA
    edge = (700 - SIZE) // 2
    truth = pixels(sharp[..., edge:-edge, edge:-edge])
    rows, columns = np.mgrid[-7:8, -7:8]
    disc = torch.from_numpy((rows**2 + columns**2 <= 49).astype(np.float32))
    lamps = light + 12 * (light.amin(1, keepdim=True) - 0.75).clamp(min=0)
    jpeg = io.BytesIO()
    pixels(moved(light, 16) ** (1 / blur.GAMMA)).save(jpeg, "JPEG", quality=20)
    out_of_focus = uniform.convolve(light, disc / disc.sum())[..., edge - 7 : 7 - edge, edge - 7 : 7 - edge]
    faults = {
        "defocus, radius 7 px": pixels(out_of_focus ** (1 / blur.GAMMA)),
        "motion of 60 px": pixels(moved(light, 60) ** (1 / blur.GAMMA)),
        "saturated lights, motion of 24 px": pixels(moved(lamps, 24) ** (1 / blur.GAMMA)),
        "motion of 16 px, JPEG quality 20": Image.open(jpeg).convert("RGB"),
    }
    width, height = CROP[2] - CROP[0], CROP[3] - CROP[1]
    sheet = Image.new("RGB", (3 * width + 12, len(faults) * (height + 6) - 6), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    model = golfdeblur.load()
    for row, (name, given) in enumerate(faults.items()):
        shown = {name: given, "golfdeblur": model.deblur(given), "truth": truth}
        for column, (label, picture) in enumerate(shown.items()):
            place = column * (width + 6), row * (height + 6)
            sheet.paste(picture.crop(CROP), place)
            draw.text((place[0] + 6, place[1] + 4), label, fill="white", font=font, stroke_width=2, stroke_fill="black")
    sheet.save(Path(__file__).parent / "failures.jpg", quality=90)


main()
