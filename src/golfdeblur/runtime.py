"""Weights on disk become a `Runner`: a network as a function on (B, 3, H, W) float32 arrays of any size.

A model is a folder with F.onnx, G.onnx (unless F is all there is) and config.json, which names their sha256. The
folders `fast` and, once it is trained, `paper` lie inside the package.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfdeblur.errors import WeightsError
from golfdeblur.tiles import run_tiled

EMBEDDED = Path(__file__).parent / "weights"
FORMAT = 1

TILE_PX = 768
"""Larger images are run in tiles with cores of this size; a multiple of every network's cell."""


@dataclass(frozen=True)
class Weights:
    """One model on disk: its folder and what config.json says of it."""

    name: str
    folder: Path
    config: dict[str, Any]

    def network(self, letter: str) -> dict[str, Any]:
        """Return the entry of network `F` or `G`: file, sha256, parameters, multiple_px, receptive_field_px."""
        return self.config["networks"][letter]

    def load(self, letter: str) -> Runner:
        """Check the sha256 of network `F` or `G` and make it runnable. Raises WeightsError if it does not match."""
        entry = self.network(letter)
        path = self.folder / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(
                f"{path} cannot be read ({error.strerror}); install or export the model again."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != entry["sha256"]:
            raise WeightsError(
                f"{path} is damaged: its sha256 is {found[:12]}..., config.json names {entry['sha256'][:12]}...; "
                "install or export the model again."
            )
        return Runner(content, multiple_px=entry["multiple_px"], receptive_field_px=entry["receptive_field_px"])


def embedded_names() -> list[str]:
    """Return the names of the models inside the package."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/config.json"))


def find_weights(model: str | Path) -> Weights:
    """Find an embedded model by name, or a model folder by path. Raises WeightsError if there is none."""
    names = embedded_names()
    folder = EMBEDDED / model if str(model) in names else Path(model)
    if not folder.is_dir():
        raise WeightsError(
            f"Model '{model}' is unknown; use {' or '.join(names)}, "
            "or the path of a folder that holds F.onnx, G.onnx and config.json."
        )
    try:
        config = json.loads((folder / "config.json").read_text())
        if config["format"] != FORMAT:
            raise WeightsError(f"{folder} has format {config['format']}, this version reads format {FORMAT}.")
        for letter in {"F", *config["networks"]}:
            missing = {"file", "sha256", "multiple_px", "receptive_field_px"} - config["networks"][letter].keys()
            if missing:
                raise KeyError(", ".join(sorted(missing)))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no config.json; give a folder written by 'golf export'.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}/config.json is not a model's ({error}); export the model again.") from error
    return Weights(str(model) if str(model) in names else folder.name, folder, config)


class Runner:
    """One network in onnxruntime, on images of any size: padded to whole cells, large ones in exact tiles."""

    def __init__(self, content: bytes, *, multiple_px: int, receptive_field_px: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise WeightsError(f"The network cannot be loaded ({error}); export it again.") from error
        self.multiple_px = multiple_px
        self.receptive_field_px = receptive_field_px

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return F(x) or G(x) for `x`, (B, 3, H, W) float32 in [0, 1], in the same shape; not clipped."""
        height, width = x.shape[2:]
        m = self.multiple_px
        # A mirrored border continues the texture; 'symmetric' also does for images of one pixel.
        padded = np.pad(x, ((0, 0), (0, 0), (0, -height % m), (0, -width % m)), mode="symmetric")
        if self.receptive_field_px is None or max(padded.shape[2:]) <= 2 * TILE_PX:
            out = self._run(padded)
        else:
            overlap = -(-self.receptive_field_px // m) * m
            out = run_tiled(self._run, padded, core=TILE_PX, overlap=overlap, multiple=m)
        return out[:, :, :height, :width]

    def _run(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(None, {"x": x})[0]
