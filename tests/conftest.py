import importlib.util
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golfdeblur import offline

TESTS = Path(__file__).parent

GUARD_S = 1800
"""Ends what hangs; no test may fail because the machine is slow."""

if importlib.util.find_spec("torch") is None:  # the core and its tests do without
    needing = re.compile(
        r"^(import|from) (torch|onnx|golfdeblur\.learning|golfdeblur\.experiments|golfdeblur\.bridges\.darktable)\b",
        re.MULTILINE,
    )
    collect_ignore = [path.name for path in TESTS.glob("test_*.py") if needing.search(path.read_text())]

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as the command does it
offline.silence()  # for what these tests start and import themselves


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that changes its input a little (tests/tiny/make.py); no test may write to it."""
    return Path(shutil.copytree(TESTS / "tiny", tmp_path_factory.mktemp("tiny") / "model"))


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
