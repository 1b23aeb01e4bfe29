import pytest
import torch

from golfdeblur.learning import losses


def test_content_losses() -> None:
    x, sharp = torch.full((2, 3, 8, 8), 0.6), torch.full((2, 3, 8, 8), 0.5)
    assert float(losses.mse(x, sharp)) == pytest.approx(0.12)
    assert float(losses.charbonnier(x, sharp)) == pytest.approx(0.1, abs=1e-4)
    assert float(losses.psnr(x, sharp)) == pytest.approx((40 - 20) / 10, abs=5e-3)
    assert float(losses.psnr(sharp, sharp)) == pytest.approx(0, abs=1e-6)  # never negative: divergence is a ratio
    assert float(losses.spectrum_l1(sharp, sharp)) == 0
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 3, 16, 16, generator=rng), torch.rand(1, 3, 16, 16, generator=rng)
    parseval = torch.fft.fft2(a - b, norm="ortho").abs().square().sum()
    assert float(parseval) == pytest.approx(float(((a - b) ** 2).sum()), rel=1e-5)


def test_the_terms_are_weighted_and_named() -> None:
    x, sharp = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    loss = losses.Loss("charbonnier", spectrum_weight=0.5, features=None, balance=0.0)
    terms = loss(x, sharp)
    assert set(terms) == {"content", "spectrum"}
    assert float(terms["spectrum"]) == pytest.approx(0.5 * float(losses.spectrum_l1(x, sharp)))
