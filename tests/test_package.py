import importlib.util
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


def test_an_index_shows_links_that_lead_somewhere() -> None:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    text = "![a](b/c.png) [d](e.md#f) [g](#h) [i](https://j)"
    assert build.page(text, "https://host/x/y", "1a2b") == (
        "![a](https://host/x/y/raw/1a2b/b/c.png) [d](https://host/x/y/blob/1a2b/e.md#f) [g](#h) [i](https://j)"
    )
    assert build.page(text, None, None) == " d [g](#h) [i](https://j)"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not build.LINK.search(build.page(readme, None, None))
    assert not build.LINK.search(build.page(readme, "https://host/x/y", "1a2b"))
