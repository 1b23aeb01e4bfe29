"""Which blur `golf deblur` is told to take out."""

from __future__ import annotations

from pathlib import Path

from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.deconvolving import LIGHTS, Deconvolution
from golfdeblur.errors import ConfigError

BLURS = ("scene", "shake")


def asked_for(
    blur: str, *, kernel: Path | None, motion: str | None, disc: float | None, light: str
) -> Deconvolution | None:
    """Return the deconvolution that the options ask for, or None.

    A given kernel blurs in linear light unless `light` names another. Raises ConfigError for options that do not go
    together or have no meaning, ImageError for an unreadable kernel.
    """
    if blur not in BLURS:
        raise ConfigError(f"--blur '{blur}' is unknown; use {' or '.join(BLURS)}.")
    if light not in LIGHTS:
        raise ConfigError(f"--light '{light}' is unknown; use {', '.join(LIGHTS)}.")
    given = {"--kernel": kernel, "--motion": motion, "--disc": disc}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} are given; give one of them.")
    own = "linear" if light == "auto" else light
    if kernel is not None:
        return Deconvolution(Kernel.read(kernel, light=own))
    if motion is not None:
        return Deconvolution(Kernel.from_motion(*_two_numbers(motion), light=own))
    if disc is not None:
        return Deconvolution(Kernel.from_disc(disc, light=own))
    if blur == "shake":
        return Deconvolution(light=light)
    if light != "auto":
        raise ConfigError("--light is for a kernel; give --blur shake, --kernel, --motion or --disc, too.")
    return None


def _two_numbers(text: str) -> tuple[float, float]:
    try:
        length, angle = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--motion '{text}' is not LENGTH,ANGLE; write for example 25,30.") from None
    return length, angle
