"""Make docs/pictures/shake.jpg: one photo shaken as a whole, and what is made of it with and without a kernel.

Needs the extra `train`. The truth is the sharp example photo; a path of a hand blurs it in linear light.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import golfdeblur
from golfdeblur import metrics
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.files import image
from golfdeblur.learning import blur, uniform

ROOT = Path(__file__).parent.parent.parent
SIZE, EXTENT_PX, NOISE, SEED = 512, (16.0, 16.0), 0.003, 0
CROP = (110, 150, 410, 370)


def main() -> None:
    """Write the picture."""
    photo = image.read_rgb8(ROOT / "examples" / "walkway-sharp.jpg")
    generator = torch.Generator().manual_seed(SEED)
    (taps,) = uniform.random_kernels(generator, 1, EXTENT_PX)
    edge = len(taps) // 2
    top, left = (photo.shape[0] - SIZE) // 2, 394
    whole = photo[top - edge : top + SIZE + edge, left - edge : left + SIZE + edge]
    sharp = whole[edge:-edge, edge:-edge]
    light = (torch.from_numpy(whole.copy()).permute(2, 0, 1)[None].float() / 255) ** blur.GAMMA
    seen = uniform.convolve(light, taps).clamp(0, 1) ** (1 / blur.GAMMA)
    seen = seen + NOISE * torch.randn(seen.shape, generator=generator)
    y = (255 * seen[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    model = golfdeblur.load()
    shown = {
        "shaken": y,
        "--blur scene: F alone": model.deblur(y, blur="scene"),
        "--blur shake": model.deblur(y, blur="shake"),
        "--kernel, the true one": model.deblur(y, kernel=Kernel(taps.numpy(), "linear")),
        "truth": sharp,
    }
    width, height = CROP[2] - CROP[0], CROP[3] - CROP[1]
    sheet = Image.new("RGB", (3 * width + 12, 2 * height + 6), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for number, (label, pixels) in enumerate(shown.items()):
        place = number % 3 * (width + 6), number // 3 * (height + 6)
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)).crop(CROP), place)
        if label != "truth":
            label += f", {metrics.psnr(*metrics.at_best_shift(pixels, sharp, 8)):.1f} dB"
        draw.text((place[0] + 6, place[1] + 4), label, fill="white", font=font, stroke_width=2, stroke_fill="black")
    drawn = Image.fromarray((255 * taps / taps.max()).round().byte().numpy())
    sheet.paste(drawn.resize((160, 160), Image.Resampling.NEAREST), (2 * (width + 6) + 70, height + 36))
    draw.text((2 * (width + 6) + 70, height + 12), "the kernel", fill="black", font=font)
    sheet.save(Path(__file__).parent / "shake.jpg", quality=90)


main()
