"""napari: one command, an image layer in, its deblurred copy out (napari.yaml is the manifest)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from golfdeblur.model import load

if TYPE_CHECKING:
    import napari.types


def deblur_image(image: napari.types.ImageData, strokes: int = 3, strength: float = 1.0) -> napari.types.LayerDataTuple:
    """Return the deblurred `image`, (H, W) or (H, W, 3 or 4) of uint8, uint16 or floats in [0, 1], as a new layer."""
    made = load().deblur(np.asarray(image), steps=strokes, strength=strength)
    return made, {"name": "deblurred"}, "image"
