"""The mean over a picture turned and mirrored in all eight ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from golfdeblur.engine.passes import Restored
from golfdeblur.files.picture import Picture, turn

INVERSE_TURN = {6: 8, 8: 6}
"""The EXIF orientation that undoes another; all the rest undo themselves."""


def mean_of_turns(picture: Picture, restore: Callable[[Picture, int], Restored]) -> Restored:
    """Return the mean of `restore(turned, held_bytes)` over all eight, turned back; alpha stays as it is."""
    colour = picture.colour
    sums = np.zeros(colour.shape, np.float32 if colour.dtype == np.float32 else np.uint32)
    runs = []
    for orientation in range(1, 9):
        turned = replace(picture, colour=turn(colour, orientation), alpha=None)
        made = restore(turned, colour.nbytes + sums.nbytes)
        sums += turn(made.picture.colour, INVERSE_TURN.get(orientation, orientation))
        runs.append(made.changes)
        settled = made.settled
    mean = sums / np.float32(8) if colour.dtype == np.float32 else ((sums + 4) // 8).astype(colour.dtype)
    changes = [float(np.mean(values)) for values in zip(*runs, strict=False)]  # some may settle before others
    return Restored(replace(picture, colour=mean), changes, settled)
