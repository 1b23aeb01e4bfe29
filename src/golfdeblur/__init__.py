"""Take the motion blur out of photographs: the Golf Optimizer, small enough to travel inside the package."""

from golfdeblur.deblur import Model, load
from golfdeblur.errors import GolfError
from golfdeblur.picture import Picture

__version__ = "0.1.0"
__all__ = ["GolfError", "Model", "Picture", "__version__", "load"]
