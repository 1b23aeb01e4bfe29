"""The model as a module of torch gives what the command gives; in hosts that are installed, through them.

spandrel and deepinv bring torchvision, so they live in environments of their own: pip install them there, and run this
file. docs/hosts.md says what was tried.
"""

from pathlib import Path

import numpy as np
import pytest

import golfdeblur
from golfdeblur.cli.app import app
from golfdeblur.errors import WeightsError
from golfdeblur.files.kinds import as_picture
from golfdeblur.weights import find_weights

from .test_cli import refused

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

SIZES = [(1, 1), (7, 40), (65, 90)]


def tensor(y: np.ndarray):  # type: ignore[no-untyped-def]
    return torch.from_numpy(np.ascontiguousarray(y.transpose(2, 0, 1)[None]))


def image(x) -> np.ndarray:  # type: ignore[no-untyped-def]
    return x.detach().numpy()[0].transpose(1, 2, 0)


@pytest.fixture(scope="module")
def file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spandrel") / "golf.safetensors"
    app(["export", str(tiny_model), "--spandrel", str(path)], standalone_mode=False)
    return path


@pytest.fixture(scope="module")
def trained_f(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """F alone, as a training writes it."""
    from golfdeblur.learning import checkpoint

    path = tmp_path_factory.mktemp("trained") / "F.safetensors"
    checkpoint.save_network(path, checkpoint.load_network(tiny_model / "F.onnx")[0], {})
    return path


def tensors_in(path: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(path)


def test_the_whole_model_gives_what_the_command_gives(tiny_model: Path, file: Path) -> None:
    from golfdeblur.bridges.whole import from_tensors

    whole, model = from_tensors(tensors_in(file)), golfdeblur.load(tiny_model)
    for size in SIZES:
        y = np.random.default_rng(0).random((*size, 3), np.float32)
        with torch.no_grad():
            assert np.abs(image(whole(tensor(y))) - model.deblur(y)).max() < 0.01 / 255


def test_a_trained_f_alone_is_known(tiny_model: Path, trained_f: Path, photo: np.ndarray) -> None:
    from golfdeblur.bridges.whole import from_tensors

    y, model = photo.astype(np.float32) / 255, golfdeblur.load(tiny_model)
    with torch.no_grad():
        made = image(from_tensors(tensors_in(trained_f))(tensor(y)))
    assert np.abs(made - model.deblur(y, steps=0)).max() < 0.1 / 255


def test_strokes_end_where_the_command_ends_them(
    tiny_model: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from golfdeblur.bridges import whole

    monkeypatch.setattr(whole, "STOP_BELOW", 0.5)
    y, model = photo.astype(np.float32) / 255, golfdeblur.load(tiny_model)
    with torch.no_grad():
        made = image(whole.whole_of(find_weights(tiny_model))(tensor(y)))
    assert np.abs(made - model.restore(as_picture(y)[0], stop_below=0.5).picture.colour).max() < 0.01 / 255


def test_other_tensors_are_refused_in_one_sentence(file: Path) -> None:
    from golfdeblur.bridges.whole import SPEC, from_tensors

    given = tensors_in(file)
    for wrong in ({}, {SPEC: given[SPEC]}, {**given, SPEC: given[SPEC][:5]}):
        with pytest.raises(WeightsError, match="no model of golfdeblur"):
            from_tensors(wrong)
    assert "leave it out" in refused("export", "fast", "--spandrel", file.with_name("x.safetensors"), "--strength", "1")


def test_hugging_face_saves_and_loads_it_offline(tmp_path: Path, tiny_model: Path, photo: np.ndarray) -> None:
    pytest.importorskip("huggingface_hub")
    from golfdeblur.bridges.huggingface import GolfDeblur, pretrained

    pretrained(str(tiny_model), steps=2).save_pretrained(tmp_path)
    assert "license: apache-2.0" in (tmp_path / "README.md").read_text()
    loaded = GolfDeblur.from_pretrained(tmp_path, local_files_only=True)
    y = photo.astype(np.float32) / 255
    with torch.no_grad():
        made = image(loaded(tensor(y)))
    assert np.abs(made - golfdeblur.load(tiny_model).deblur(y, steps=2)).max() < 0.01 / 255


def test_spandrel_knows_and_loads_it(file: Path, trained_f: Path, tiny_model: Path, photo: np.ndarray) -> None:
    spandrel = pytest.importorskip("spandrel")
    from golfdeblur.bridges.spandrel import register

    register()
    register()
    y, model = photo.astype(np.float32) / 255, golfdeblur.load(tiny_model)
    for path, steps in ((file, 3), (trained_f, 0)):
        loaded = spandrel.ModelLoader().load_from_file(path)
        assert isinstance(loaded, spandrel.ImageModelDescriptor)
        assert loaded.architecture.id == "golfdeblur"
        assert (loaded.scale, loaded.purpose) == (1, "Restoration")
        assert np.abs(image(loaded(tensor(y))) - model.deblur(y, steps=steps)).max() < 0.1 / 255


def test_deepinv_takes_f_and_g(tiny_model: Path, photo: np.ndarray) -> None:
    deepinv = pytest.importorskip("deepinv")
    from golfdeblur.bridges.deepinv import CorrectorDenoiser, GolfReconstructor

    weights, y = find_weights(tiny_model), photo.astype(np.float32) / 255
    physics = deepinv.physics.BlurFFT((3, *photo.shape[:2]), filter=torch.ones(1, 1, 3, 3) / 9)
    with torch.no_grad():
        made = GolfReconstructor(weights)(tensor(y), physics)
        assert np.abs(image(made) - golfdeblur.load(tiny_model).deblur(y)).max() < 0.01 / 255
        for name, prior in (("PGD", deepinv.optim.PnP), ("GD", deepinv.optim.RED)):
            solver = deepinv.optim.optim_builder(
                name,
                prior=prior(denoiser=CorrectorDenoiser(weights)),
                data_fidelity=deepinv.optim.L2(),
                max_iter=2,
                params_algo={"stepsize": 1.0, "g_param": 0.01, "lambda": 0.1},
            )
            assert solver(tensor(y), physics).shape == tensor(y).shape
