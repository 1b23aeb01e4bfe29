"""F alone, and `--blur shake` behind it, on a folder of pairs, none left out: `shake.py FOLDER [BEST_SHIFT_PX]`."""

import sys
from pathlib import Path

import numpy as np

from golfdeblur import evaluate, load
from golfdeblur.engine.deconvolving import Deconvolution
from golfdeblur.files import image

model, shift = load(), int(sys.argv[2]) if len(sys.argv) > 2 else 3
rows = []
for name, blurry_path, sharp_path in image.find_pairs(Path(sys.argv[1])):
    blurry, sharp = image.read_rgb8(blurry_path), image.read_rgb8(sharp_path)
    made = blurry, model.deblur(blurry, steps=0), model.deblur(blurry, deconvolution=Deconvolution())
    rows.append([evaluate.score(x, sharp, best_shift_px=shift).psnr for x in made])
    print(name, *(f"{psnr:.2f}" for psnr in rows[-1]), flush=True)
gains = np.diff(np.array(rows)[:, 1:], axis=1)
print("mean of input, F, shake:", np.mean(rows, 0).round(2))
print("against F: worst", gains.min().round(2), "best", gains.max().round(2), "better:", int((gains > 0).sum()))
