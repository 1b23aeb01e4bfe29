import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from golfdeblur.weights import EMBEDDED, embedded_names, find_weights

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_holds_the_weights_and_is_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= 6e6
    names = zipfile.ZipFile(wheel).namelist()
    for model in embedded_names():
        assert f"golfdeblur/weights/{model}/config.json" in names
        assert {f"golfdeblur/weights/{model}/{letter}.onnx" for letter in find_weights(model).networks} <= set(names)
        assert (EMBEDDED / model / "config.json").stat().st_size <= 3500  # every visitor of the page downloads it
    assert not any(name.startswith(("tests/", "recipes/", "examples/", "research/")) for name in names)
    assert not any(name.endswith(".safetensors") for name in names)


def test_core_needs_no_torch() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    core = text.split("dependencies = [")[1].split("]")[0]
    assert "torch" not in core
    assert "torchvision" not in text
