"""The files in a host's own place. ComfyUI, GIMP 3 and napari are not here: what stands for them is called so."""

import asyncio
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur.bridges.napari import deblur_image

HOSTS = Path(__file__).parent.parent / "hosts"
pytestmark = pytest.mark.skipif(not HOSTS.exists(), reason="the source distribution has no hosts/")


def loaded(path: Path, name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comfy_stand_in() -> types.ModuleType:
    """Stand for comfy_api.latest with what the node uses of its V3 schema: it is no test of ComfyUI itself."""

    class Schema:
        def __init__(self, **given: object) -> None:
            self.__dict__.update(given)

    class Input:
        def __init__(self, name: str, **given: object) -> None:
            self.id, self.given = name, given

    kinds = {kind: types.SimpleNamespace(Input=Input, Output=Input) for kind in ("Image", "Combo", "Int", "Float")}
    output = type("NodeOutput", (), {"__init__": lambda self, *values: setattr(self, "result", values)})
    io = types.SimpleNamespace(ComfyNode=object, Schema=Schema, NodeOutput=output, **kinds)
    module = types.ModuleType("comfy_api.latest")
    module.__dict__.update(ComfyExtension=object, io=io)
    return module


def test_the_comfyui_node(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, photo: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "comfy_api", types.ModuleType("comfy_api"))
    monkeypatch.setitem(sys.modules, "comfy_api.latest", comfy_stand_in())
    module = loaded(HOSTS / "comfyui" / "__init__.py", "comfyui_golfdeblur")
    (node,) = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
    schema = node.define_schema()
    workflow = json.loads((HOSTS / "comfyui" / "workflow.json").read_text())
    (used,) = [entry["inputs"] for entry in workflow.values() if entry["class_type"] == schema.node_id]
    assert list(used) == [given.id for given in schema.inputs]
    batch = np.stack([photo, photo[::-1]]).astype(np.float32) / 255
    (made,) = node.execute(torch.from_numpy(batch), str(tiny_model), 2, 0.5).result
    model = golfdeblur.load(tiny_model)
    assert made.shape == batch.shape
    for before, after in zip(batch, made.numpy(), strict=True):
        assert np.array_equal(after, model.deblur(before, steps=2, strength=0.5))


def test_gimps_own_part(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(HOSTS / "gimp" / "golfdeblur" / "golfdeblur.py", "gimp_golfdeblur")
    golf = tmp_path / "golf"
    golf.write_text(f'#!/bin/sh\nexec {sys.executable} -m golfdeblur "$@" --model fast --steps 0\n')
    golf.chmod(0o755)
    monkeypatch.setattr(module, "command", lambda: str(golf))
    layer = np.concatenate([photo[:40, :40], photo[:40, :40, :1]], axis=2)
    Image.fromarray(layer).save(tmp_path / "layer.png")
    module.deblur(tmp_path / "layer.png", tmp_path / "made.png")
    made = np.asarray(Image.open(tmp_path / "made.png"))
    assert made.shape == layer.shape
    assert np.array_equal(made[:, :, 3], layer[:, :, 3])
    with pytest.raises(RuntimeError, match="does not exist"):
        module.deblur(tmp_path / "no.png", tmp_path / "other.png")


def test_gimps_plug_in_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(HOSTS / "gimp" / "golfdeblur" / "golfdeblur.py", "gimp_golfdeblur")
    monkeypatch.setattr(module.shutil, "which", lambda *a, **k: None)
    with pytest.raises(RuntimeError, match="pip install golfdeblur"):
        module.command()


def test_naparis_command(photo: np.ndarray) -> None:
    small = photo[:24, :24]
    data, notes, kind = deblur_image(small, strokes=0, strength=0.5)
    assert np.array_equal(data, golfdeblur.load().deblur(small, steps=0, strength=0.5))
    assert (notes["name"], kind) == ("deblurred", "image")


def test_naparis_manifest_is_valid() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(Path(golfdeblur.__file__).parent / "bridges" / "napari.yaml")
    manifest.validate_imports()


def test_the_space_shows_one_screen(photo: np.ndarray) -> None:
    gradio = pytest.importorskip("gradio")
    module = loaded(HOSTS / "huggingface" / "app.py", "space")
    before, after = module.deblur(Image.fromarray(photo[:30, :30]), 0.0, 0)
    assert np.array_equal(np.asarray(before), np.asarray(after))
    with pytest.raises(gradio.Error, match="no photo"):
        module.deblur(None, 1.0, 3)
