"""What a user may give as a picture, a Pillow image or an array, and the same kind back."""

from __future__ import annotations

import numpy as np
from PIL import Image

from golfdeblur.errors import ImageError
from golfdeblur.files.picture import Picture, from_pil, from_samples, to_pil


def as_picture(given):  # type: ignore[no-untyped-def]
    """Return the Picture of an image or array, and the function that turns a Picture into the same kind."""
    if isinstance(given, Picture):
        return given, lambda p: p
    if isinstance(given, Image.Image):
        return from_pil(given), to_pil
    if not isinstance(given, np.ndarray):
        raise ImageError(f"{type(given).__name__} is no picture; give a path, a Pillow image or a numpy array.")
    if np.issubdtype(given.dtype, np.floating):
        return _from_floats(given)
    source = from_samples(given)
    return source, lambda p: p.samples().reshape(given.shape)


def _from_floats(given: np.ndarray):  # type: ignore[no-untyped-def]
    if not np.isfinite(given).all() or given.min(initial=0) < 0 or given.max(initial=0) > 1:
        raise ImageError("An array of floats must lie in [0, 1] without NaN; divide by 255 or clip it first.")
    from_samples(np.zeros(given.shape, np.uint8))  # checks the shape
    channels = 1 if given.ndim == 2 else given.shape[2]
    cube = given.reshape(*given.shape[:2], channels)
    colours = 1 if channels <= 2 else 3

    def like(picture: Picture) -> np.ndarray:
        return np.concatenate([picture.colour.astype(given.dtype), cube[:, :, colours:]], axis=2).reshape(given.shape)

    return Picture(cube[:, :, :colours].astype(np.float32)), like
