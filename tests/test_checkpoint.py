import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golfdeblur.errors import WeightsError
from golfdeblur.learning import checkpoint, export, golf, networks


def test_checkpoints_come_back_whole_or_say_why(tmp_path: Path) -> None:
    network = networks.build(networks.PRESETS["fast"].g)
    checkpoint.save_network(tmp_path / "G.safetensors", network, {"steps": 3})
    again, history = checkpoint.load_network(tmp_path / "G.safetensors")
    for name, value in again.state_dict().items():
        assert torch.allclose(value, network.state_dict()[name], rtol=2**-16, atol=0), name
        assert not (value.numpy().view(np.uint32) & 0xFF).any()  # what is rounded away packs to nothing
    checkpoint.save_network(tmp_path / "G.safetensors", again, history)
    once_more, _ = checkpoint.load_network(tmp_path / "G.safetensors")
    assert checkpoint.network_hash(once_more) == checkpoint.network_hash(again)
    assert history == {"steps": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["G.safetensors"]
    (tmp_path / "any").touch()
    assert (tmp_path / "G.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode  # colleagues may read it
    (tmp_path / "G.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match="not a readable"):
        checkpoint.load_network(tmp_path / "G.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        checkpoint.load_network(tmp_path / "none")
    assert json.dumps(network.spec)


def test_an_onnx_file_holds_the_same_weights(tmp_path: Path, tiny_model: Path) -> None:
    network, history = checkpoint.load_network(tiny_model / "F.onnx")
    assert history == {}
    content = export.to_onnx(golf.Propagator(network).eval(), tmp_path / "F.onnx")
    again = checkpoint.from_onnx(content, network.spec)
    assert checkpoint.network_hash(again) == checkpoint.network_hash(network)
    with pytest.raises(WeightsError, match="no network of golfdeblur"):
        checkpoint.from_onnx(b"no onnx", network.spec)
    with pytest.raises(WeightsError, match="no network of golfdeblur"):
        checkpoint.from_onnx(content, {"network": "residual-cnn", "filters": 4})
    with pytest.raises(WeightsError, match=r"is not F\.onnx or G\.onnx"):
        checkpoint.load_network(tiny_model / "H.onnx")
