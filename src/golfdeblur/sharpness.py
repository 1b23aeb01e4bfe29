"""Is this picture blurred, and is the result sharper? There is no reference to compare with, so F itself is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from golfdeblur.files.picture import Picture

if TYPE_CHECKING:
    from golfdeblur.model import Model, Restored

SHARP_BELOW = 0.3
"""The blurriness under which a picture counts as sharp (research/scores.md)."""

GRADIENT_ROWS = 512


def why_keep(model: Model, picture: Picture, restored: Restored) -> str | None:
    """Return why `picture` should be left as it is: it is sharp, or the result is no sharper; None if neither.

    What counts is how much is left for F to change, in the picture and in the result; error rates are in
    research/scores.md.
    """
    before = blurriness(picture, restored.changes[0])
    if before < SHARP_BELOW:
        return f"it is sharp already (blurriness {before:.3f}, below {SHARP_BELOW})"
    after = blurriness(restored.picture, model.restore(restored.picture, steps=0).changes[0])
    if after >= before:
        return f"the result is no sharper (blurriness {after:.3f}, before {before:.3f})"
    return None


def blurriness(picture: Picture, change: float) -> float:
    """Return F's mean `change` of a picture as a share of the mean step between neighbouring pixels.

    Under SHARP_BELOW for nearly all sharp pictures, up to 5 for blurry ones.

    Examples:
        >>> import golfdeblur
        >>> from golfdeblur.files import image
        >>> picture = image.read("examples/walkway-sharp.jpg")
        >>> f_alone = golfdeblur.load().restore(picture, steps=0)
        >>> blurriness(picture, f_alone.changes[0]) < SHARP_BELOW
        True
    """
    height = picture.size[1]
    steps, pixels = 0.0, 0
    for top in range(0, height, GRADIENT_ROWS):
        grey = picture.rows(top, min(top + GRADIENT_ROWS + 1, height)).mean(axis=1)[0]
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        steps += float(across.sum() + down.sum())
        pixels += across.size + down.size
    return change / max(steps / max(pixels, 1), 1e-6)
