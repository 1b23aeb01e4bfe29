"""A model that `from_pretrained` and `push_to_hub` know, by huggingface_hub's mixin."""

from __future__ import annotations

from huggingface_hub import PyTorchModelHubMixin

from golfdeblur.bridges.whole import Whole, whole_of
from golfdeblur.golf import STEPS
from golfdeblur.weights import find_weights


class GolfDeblur(  # type: ignore[call-arg]  # the mixin is not looked into
    Whole,
    PyTorchModelHubMixin,
    library_name="golfdeblur",
    license="apache-2.0",
    pipeline_tag="image-to-image",
    tags=["deblurring", "image-restoration"],
):
    """`Whole` with `save_pretrained`, `from_pretrained` and `push_to_hub`; its config.json holds the specs."""


def pretrained(model: str, *, steps: int = STEPS) -> GolfDeblur:
    """Return an embedded model, or one from a folder, ready to be saved. Raises WeightsError if there is none."""
    weights = find_weights(model)
    made = GolfDeblur(weights.f.spec, None if weights.g is None else weights.g.spec, steps)
    made.load_state_dict(whole_of(weights, steps=steps).state_dict())
    return made.eval()
