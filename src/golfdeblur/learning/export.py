"""From safetensors to the ONNX files that everyone runs, with a check that both compute the same."""

from __future__ import annotations

import datetime
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from golfdeblur import runtime
from golfdeblur.errors import WeightsError
from golfdeblur.learning import checkpoint, golf, networks

OPSET = 17
PARITY_SIZES = ((64, 64), (72, 200), (136, 88))
"""Heights and widths on which torch and onnxruntime are compared; multiples of every network's cell."""


def export(f_path: Path, g_path: Path, folder: Path, *, name: str, notes: dict[str, Any]) -> dict[str, Any]:
    """Write F.onnx, G.onnx, their safetensors and config.json into `folder`; return the configuration.

    Each ONNX file must agree with torch float32 within 1/255 and by at least 90 dB, else WeightsError is raised.
    `notes` (data, scores, licence, ...) go into config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {}
    for letter, path, wrap in (("F", f_path, golf.Propagator), ("G", g_path, golf.Corrector)):
        network, history = checkpoint.load_network(path)
        module = wrap(network).eval()
        content = to_onnx(module, folder / f"{letter}.onnx")
        entries[letter] = {
            "file": f"{letter}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "parameters": networks.count_parameters(network),
            "multiple_px": network.multiple_px,
            "receptive_field_px": network.receptive_field_px,
            "spec": network.spec,
            "parity_db": check_parity(module, content),
            "training": history,
        }
        checkpoint.save_network(folder / f"{letter}.safetensors", network, history)
    config = {
        "format": runtime.FORMAT,
        "name": name,
        "date": datetime.date.today().isoformat(),
        "networks": entries,
        **notes,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return config


def to_onnx(module: nn.Module, path: Path) -> bytes:
    """Write `module`, (B, 3, H, W) to the same with B, H, W free, as an ONNX file with its weights inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.rand(1, 3, 64, 64),),
            str(path),
            input_names=["x"],
            output_names=["out"],
            opset_version=OPSET,
            dynamic_axes={"x": {0: "batch", 2: "height", 3: "width"}, "out": {0: "batch", 2: "height", 3: "width"}},
            dynamo=False,
        )
    return path.read_bytes()


def check_parity(module: nn.Module, content: bytes) -> float:
    """Return the least PSNR in dB of onnxruntime against torch over all sizes.

    Raises WeightsError under 90 dB or beyond 1/255.
    """
    session = runtime.Runner(content, multiple_px=1, receptive_field_px=None)
    generator = torch.Generator().manual_seed(0)
    worst = float("inf")
    for height, width in PARITY_SIZES:
        x = torch.rand(1, 3, height, width, generator=generator)
        with torch.no_grad():
            difference = session(x.numpy()) - module(x).numpy()
        psnr_db = -10 * np.log10(max(float(np.square(difference).mean()), 1e-20))
        if psnr_db < 90 or np.abs(difference).max() > 1 / 255:
            raise WeightsError(
                f"The exported network differs from torch by {np.abs(difference).max():.2e} ({psnr_db:.0f} dB) at "
                f"{height}x{width}; 90 dB are needed."
            )
        worst = min(worst, psnr_db)
    return round(float(worst), 1)
