"""ComfyUI: copy this folder to ComfyUI/custom_nodes/golfdeblur, and pip install golfdeblur into ComfyUI's Python."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io

import golfdeblur


@functools.lru_cache(maxsize=2)
def _loaded(model: str) -> golfdeblur.Model:
    return golfdeblur.load(model)


class GolfDeblur(io.ComfyNode):
    """One node: IMAGE in, IMAGE out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node shows."""
        return io.Schema(
            node_id="GolfDeblur",
            display_name="Deblur (golfdeblur)",
            category="image/restoration",
            description="Takes motion blur out of photographs, on the processor.",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("model", options=["fast", "paper"], default="fast"),
                io.Int.Input("strokes", default=3, min=0, max=100, tooltip="At most so many corrections after F."),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="0 is the input."),
            ],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, model: str, strokes: int, strength: float) -> io.NodeOutput:
        """Return every picture of `image`, (B, H, W, C) in [0, 1], deblurred."""
        how: dict[str, Any] = {"steps": strokes, "strength": strength}
        pictures = image.detach().cpu().float().clamp(0, 1).numpy()
        made = np.stack([_loaded(model).deblur(picture, **how) for picture in pictures])
        return io.NodeOutput(torch.from_numpy(made).to(image))


class GolfExtension(ComfyExtension):
    """What ComfyUI asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the one node."""
        return [GolfDeblur]


async def comfy_entrypoint() -> GolfExtension:
    """Return the extension, when ComfyUI loads this folder."""
    return GolfExtension()
