import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from golfdeblur.errors import WeightsError
from golfdeblur.learning import losses, perceptual


@pytest.fixture
def vgg19(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "vgg19.safetensors"
    tensors = {name.removeprefix("layers."): value for name, value in perceptual.VGG19().state_dict().items()}
    save_file(tensors, path)
    return path


@pytest.fixture
def vgg11(tmp_path: Path) -> Path:
    """A file as torchvision's vgg11_bn has it, classifier and all."""
    torch.manual_seed(0)
    path = tmp_path / "vgg11_bn.pth"
    state = perceptual.VGG11().state_dict()
    torch.save({**state, "classifier.0.weight": torch.zeros(4, 4)}, path)
    return path


def test_vgg11_is_torchvisions(vgg11: Path) -> None:
    network = perceptual.load_features("vgg11-bn", vgg11)
    assert sum(p.numel() for p in network.parameters()) == 9_225_984  # the convolutional part of vgg11_bn
    assert set(torch.load(vgg11)) >= {"features.0.weight", "features.1.running_mean", "features.26.bias"}
    assert network(torch.rand(2, 3, 64, 96)).shape == (2, 512, 2, 3)
    assert not network.training  # batch norm must use ImageNet's statistics


def test_vgg19_reaches_conv3_1(vgg19: Path) -> None:
    network = perceptual.load_features("vgg19", vgg19)
    assert network(torch.rand(1, 3, 32, 48)).shape == (1, 256, 8, 12)


@pytest.mark.parametrize("kind", ["vgg11-bn", "vgg19"])
def test_features_are_frozen_and_the_gradient_is_right(kind: str, vgg11: Path, vgg19: Path) -> None:
    features = perceptual.load_features(kind, vgg11 if kind == "vgg11-bn" else vgg19).double()
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.float64, requires_grad=True)
    sharp = torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.float64)
    loss = losses.perceptual(x, sharp, features)
    loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in features.parameters())
    assert x.grad is not None
    direction = torch.randn(x.shape, generator=rng, dtype=torch.float64)
    step = 1e-8
    with torch.no_grad():
        ahead = losses.perceptual(x + step * direction, sharp, features)
        behind = losses.perceptual(x - step * direction, sharp, features)
    numeric = float((ahead - behind) / (2 * step))
    assert float((x.grad * direction).sum()) == pytest.approx(numeric, rel=1e-4)


def test_wrong_weights_get_a_sentence(tmp_path: Path, vgg11: Path, vgg19: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        perceptual.load_features("vgg19", tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="does not hold the weights of vgg11-bn"):
        perceptual.load_features("vgg11-bn", vgg19)
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(WeightsError, match="not a readable"):
            perceptual.load_features("vgg19", tmp_path / name)


def test_downloads_are_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vgg11: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(perceptual, "VGG11_URL", (tmp_path / "missing-6002323d.pth").as_uri())
    with pytest.raises(WeightsError, match="could not be fetched"):
        perceptual.downloaded_vgg11()
    damaged = tmp_path / "net-6002323d.pth"
    damaged.write_bytes(b"something else")
    monkeypatch.setattr(perceptual, "VGG11_URL", damaged.as_uri())
    with pytest.raises(WeightsError, match="damaged"):
        perceptual.downloaded_vgg11()
    assert not list((tmp_path / "cache" / "checkpoints").iterdir())
    sound = tmp_path / f"net-{hashlib.sha256(vgg11.read_bytes()).hexdigest()[:8]}.pth"
    vgg11.rename(sound)
    monkeypatch.setattr(perceptual, "VGG11_URL", sound.as_uri())
    assert perceptual.load_features("vgg11-bn", perceptual.downloaded_vgg11())
    sound.unlink()
    assert perceptual.downloaded_vgg11().exists()  # from the cache


def test_the_measured_balance_makes_both_terms_equal(vgg19: Path) -> None:
    features = perceptual.load_features("vgg19", vgg19)
    loss = losses.Loss("mse", features=features, balance=0.0)
    x, sharp = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss.balance.copy_(loss.measured_balance(x, sharp))
    terms = loss(x, sharp)
    assert float(terms["perceptual"]) == pytest.approx(float(terms["content"]), rel=1e-5)
    assert float(loss.measured_balance(sharp, sharp)) == 0  # nothing to compare
