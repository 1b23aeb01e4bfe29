"""golfdeblur's files in spandrel, and by it in what loads models with spandrel: `register()` once, before loading.

Written against spandrel 0.4: it knows a model by its tensors alone, so these hold what they are (`bridges.whole`).
"""

from __future__ import annotations

from typing import Any

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling

from golfdeblur.bridges.whole import SPEC, Whole, from_tensors


class GolfArchitecture(Architecture[Whole]):
    """What spandrel asks to know and load our files."""

    def __init__(self) -> None:
        super().__init__(id="golfdeblur", detect=lambda tensors: SPEC in tensors)

    def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[Whole]:
        """Return the model of `golf export --spandrel`, or a trained F alone."""
        model = from_tensors(state_dict)
        size = sum(value.numel() for value in model.parameters())
        return ImageModelDescriptor(
            model,
            model.state_dict(),
            architecture=self,
            purpose="Restoration",
            tags=[f"{size // 1000}k", f"{model.steps} corrections"],
            supports_half=False,  # F and G are measured in float32
            supports_bfloat16=False,
            scale=1,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.DISCOURAGED,  # F sees the picture at an eighth of its size
        )


def register() -> None:
    """Let spandrel's loaders know our files; a second call changes nothing."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(GolfArchitecture()), ignore_duplicates=True)
