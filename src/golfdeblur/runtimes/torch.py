"""torch on CUDA, MPS or the CPU, in float32 or bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from golfdeblur import machine
from golfdeblur.errors import ConfigError
from golfdeblur.runtimes import Session, memory_errors


def open_network(content: bytes, spec: dict[str, Any], name: str) -> Session:
    """Build the network that `spec` describes with the weights of its ONNX file. Raises ConfigError or WeightsError."""
    try:
        import onnx  # noqa: F401 (reads the weights)
        import torch

        from golfdeblur.learning import checkpoint
    except ImportError as error:
        raise ConfigError("Runtime 'torch' is not installed here; pip install 'golfdeblur[train]'.") from error
    bf16 = name.endswith("bf16")
    torch.set_num_threads(min(torch.get_num_threads(), machine.threads()))
    network: Any = checkpoint.from_onnx(content, spec)
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    network = network.to(torch.device(kind)).eval()
    # 1.4 times as fast where measured. In float32, what others compare with, torch is left as it computes by itself.
    layout = torch.channels_last if bf16 and kind == "cpu" else torch.contiguous_format
    network = network.to(memory_format=layout)

    def run(x: np.ndarray) -> np.ndarray:
        with (
            memory_errors(),
            torch.inference_mode(),
            torch.autocast(kind, torch.bfloat16, enabled=bf16),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # as in `onnx.PROVIDER_OPTIONS`
        ):
            given = torch.from_numpy(x).to(kind, memory_format=layout)
            return (given[:, :3] + network(given)).float().contiguous().cpu().numpy()

    return Session(run, name)
