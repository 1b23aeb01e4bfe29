import pytest
import torch

from golfdeblur.learning import losses


def test_content_losses() -> None:
    x, sharp = torch.full((2, 3, 8, 8), 0.6), torch.full((2, 3, 8, 8), 0.5)
    assert float(losses.mse(x, sharp)) == pytest.approx(0.12)
    assert float(losses.charbonnier(x, sharp)) == pytest.approx(0.1, abs=1e-4)
    assert float(losses.log_mse(x, sharp)) == pytest.approx((40 - 20) / 10, abs=5e-3)
    assert float(losses.log_mse(sharp, sharp)) == pytest.approx(0, abs=1e-6)  # never negative: divergence is a ratio


def test_the_terms_are_weighted_and_named() -> None:
    x, sharp = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features = torch.nn.Conv2d(3, 4, 3).requires_grad_(False)
    loss = losses.Loss("charbonnier", features=features, balance=0.5)
    terms = loss(x, sharp)
    assert set(terms) == {"content", "perceptual"}
    assert float(terms["content"]) == float(losses.charbonnier(x, sharp))
    assert float(terms["perceptual"]) == pytest.approx(0.5 * float(losses.perceptual(x, sharp, features)))
    balance = loss.measured_balance(x, sharp)
    assert float(balance * losses.perceptual(x, sharp, features)) == pytest.approx(float(terms["content"]))
    assert float(loss.measured_balance(sharp, sharp)) == 0
    assert set(losses.Loss("mse", features=None, balance=0.0)(x, sharp)) == {"content"}
