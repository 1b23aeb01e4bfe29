"""F alone, `--blur auto` and, where there is a kernel/, `--blur shake` and the true kernel, on folders of pairs.

    python research/deconvolution/shake.py OUT.json BEST_SHIFT_PX EVERY FOLDER...

Of each folder every so many pictures. A gain is in PSNR over F's result; "wrong" loses more than 0.1 dB, "missed" had
1 dB to gain by the true kernel and was refused.
"""

import json
import sys
from pathlib import Path

import numpy as np

from golfdeblur import evaluate, load
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.files import image
from golfdeblur.files.kinds import as_picture

out, shift, every, *folders = sys.argv[1:]


def psnr(x: np.ndarray, sharp: np.ndarray) -> float:
    """Return the PSNR in dB at the best shift, 60 at most: equal pictures are not infinitely good."""
    found = evaluate.score(x, sharp, best_shift_px=int(shift)).psnr
    return 60.0 if found is None else min(float(found), 60.0)


model, results = load(), {}
for folder in map(Path, folders):
    facts = json.loads((folder / "meta.json").read_text()) if (folder / "meta.json").exists() else {}
    rows = []
    for name, blurry_path, sharp_path in list(image.find_pairs(folder))[:: int(every)]:
        blurry, sharp = image.read_rgb8(blurry_path), image.read_rgb8(sharp_path)

        picture, like = as_picture(blurry)
        taps = folder / "kernel" / f"{Path(name).stem}.npy"
        row = {"name": name, "input": psnr(blurry, sharp)}
        made = list(model.restore_each(picture, deconvolution=model.deconvolution("auto")))
        row |= {"F": psnr(like(made[0].picture), sharp), "auto": psnr(like(made[-1].picture), sharp)}
        found = made[-1].explanation
        if (folder / "kernel").is_dir():
            if not found.uniform:
                made = list(model.restore_each(picture, deconvolution=model.deconvolution("shake")))
            row["strokes"] = [psnr(like(r.picture), sharp) for r in made]
            row["shake"] = row["strokes"][-1]
        row |= {"accepted": found.uniform, "expected": found.gain_db, "px": found.kernel.extent_px}
        if taps.exists():
            known = Kernel(np.load(taps), facts.get(Path(name).stem, {}).get("light", "srgb"))
            row["true"] = psnr(model.deblur(blurry, kernel=known), sharp)
        rows.append(row)
        print(folder.name, name, *(f"{k} {v:.2f}" for k, v in row.items() if isinstance(v, float)), flush=True)
    gain = np.array([row["auto"] - row["F"] for row in rows])
    room = [row for row in rows if row.get("true", 0) > row["F"] + 1]
    columns = [name for name in ("input", "F", "auto", "shake", "true") if all(name in row for row in rows)]
    results[str(folder)] = {
        "images": len(rows),
        **{f"mean {name}": round(float(np.mean([row[name] for row in rows])), 2) for name in columns},
        "accepted": sum(row["accepted"] for row in rows),
        "wrong": int((gain < -0.1).sum()),
        "worst": round(float(gain.min()), 2),
        "missed": [sum(not row["accepted"] for row in room), len(room)],
        "rows": rows,
    }
    print(folder, {name: value for name, value in results[str(folder)].items() if name != "rows"}, flush=True)
    Path(out).write_text(json.dumps(results, indent=1) + "\n")
