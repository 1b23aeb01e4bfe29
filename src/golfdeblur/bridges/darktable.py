"""A model as a package for darktable's denoise (AI), 5.6 and later.

The format is that of darktable's own reader: src/common/ai_models.c installs the zip, src/ai/backend_common.c reads
config.json, src/common/ai/restore.c and restore_rgb.c cut tiles of sRGB and put them through model.onnx.
"""

from __future__ import annotations

import io
import json
import zipfile

import golfdeblur
from golfdeblur.bridges.single import to_single
from golfdeblur.golf import STEPS
from golfdeblur.weights import Weights

TILES_PX = [2048, 1536, 1024, 768, 512]
"""Sides that darktable may choose from. Its tiles overlap by 64 pixels, less than F sees: small ones show seams."""

WRITTEN = (2026, 1, 1, 0, 0, 0)
"""The time of every entry: equal models give equal packages."""


def to_dtmodel(weights: Weights, *, steps: int = STEPS, strength: float = 1.0) -> bytes:
    """Return a .dtmodel, a zip of ID/config.json and ID/model.onnx. Raises what `to_single` raises."""
    own = f"denoise-golfdeblur-{weights.name}"
    # Tiles that settle one by one would differ from their neighbours.
    network = to_single(weights, steps=steps, strength=strength, stop_below=0.0)
    config = {
        "id": own,
        "name": f"golfdeblur {weights.name}",
        "description": "Takes motion blur out; not a denoiser, though darktable lists it as one.",
        "task": "denoise",
        "backend": "onnx",
        "version": golfdeblur.__version__,
        "num_inputs": 1,
        "attributes": {"input_sizes": TILES_PX},
        "model_card": {
            "long_description": f"F and {steps} corrections of golfdeblur, at strength {strength:g}.",
            "scope": "Motion blur of a hand or a subject. No defocus.",
            "license": "Apache-2.0",
            "training_data": weights.data,
        },
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in (("config.json", json.dumps(config, indent=1).encode()), ("model.onnx", network)):
            package.writestr(zipfile.ZipInfo(f"{own}/{name}", WRITTEN), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()
