import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golfdeblur import offline

GUARD_S = 1800
"""Ends what hangs; no test may fail because the machine is slow."""

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as the command does it
offline.silence()  # for what these tests start and import themselves


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small exported model that changes its input a little: random weights, F at two scales."""
    torch = pytest.importorskip("torch")
    from golfdeblur.learning import checkpoint, export
    from golfdeblur.learning.networks import ResidualUNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    for letter in ("F", "G"):
        network = ResidualUNet((4, 8), (1, 1), scales=2 if letter == "F" else 1)
        torch.nn.init.normal_(network.tail[0].weight, std=0.02)
        checkpoint.save_network(folder / f"{letter}.safetensors", network, {})
    model = folder / "model"
    export.export(folder / "F.safetensors", folder / "G.safetensors", model, name="tiny", notes={})
    return model


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A synthetic photograph with edges, gradients and texture, (90, 131, 3) uint8."""
    rows, columns = np.mgrid[0:90, 0:131]
    rng = np.random.default_rng(0)
    base = 90 + 60 * np.sin(columns / 9.0)[:, :, None] * np.cos(rows / 13.0)[:, :, None] * np.array([1, 0.7, -0.6])
    base[20:60, 30:80] += 70
    return np.clip(base + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def jpeg(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=88)
    return path
