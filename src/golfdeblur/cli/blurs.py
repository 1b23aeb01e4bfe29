"""The kernel that `golf deblur` is told to take out."""

from __future__ import annotations

from pathlib import Path

from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.errors import ConfigError


def kernel_of(*, kernel: Path | None, motion: str | None, disc: float | None, light: str) -> Kernel | None:
    """Return the kernel that the options give, or None.

    It blurs in linear light unless `light` names another. Raises ConfigError for options that do not go together or
    have no meaning, ImageError for an unreadable kernel.
    """
    given = {"--kernel": kernel, "--motion": motion, "--disc": disc}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} are given; give one of them.")
    own = "linear" if light == "auto" else light
    if kernel is not None:
        return Kernel.read(kernel, light=own)
    if motion is not None:
        return Kernel.from_motion(*_two_numbers(motion), light=own)
    return None if disc is None else Kernel.from_disc(disc, light=own)


def _two_numbers(text: str) -> tuple[float, float]:
    try:
        length, angle = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--motion '{text}' is not LENGTH,ANGLE; write for example 25,30.") from None
    return length, angle
