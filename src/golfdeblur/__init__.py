"""Take the motion blur out of photographs: the Golf Optimizer, small enough to travel inside the package."""

from typing import TYPE_CHECKING

from golfdeblur.errors import GolfError

if TYPE_CHECKING:
    from golfdeblur.files.picture import Picture
    from golfdeblur.model import Model, load

__version__ = "0.1.0"
__all__ = ["DEFAULT_MODEL", "GolfError", "Model", "Picture", "__version__", "load"]

DEFAULT_MODEL = "fast"
"""The model that `load` and the command take if none is named."""


def __dir__() -> list[str]:
    """List the public names, also those not yet imported."""
    return sorted(__all__)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: `golf --help` needs neither numpy nor Pillow."""
    if name in ("Model", "load"):
        from golfdeblur import model

        return getattr(model, name)
    if name == "Picture":
        from golfdeblur.files.picture import Picture

        return Picture
    raise AttributeError(f"module 'golfdeblur' has no attribute '{name}'")
