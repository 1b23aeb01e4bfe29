import math

import numpy as np
import pytest
import torch

from golfdeblur.errors import ConfigError
from golfdeblur.learning import uniform

from .test_blur import texture


def test_convolution_and_adjoint_agree_in_the_dot_product() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 20, 31, generator=generator, dtype=torch.float64)
    for kernel in (torch.rand(5, 7, generator=generator), torch.rand(2, 4, 6, generator=generator)):
        kernel = kernel.double()
        y = torch.randn(uniform.convolve(x, kernel).shape, generator=generator, dtype=torch.float64)
        left = (uniform.convolve(x, kernel) * y).sum()
        right = (x * uniform.convolve_adjoint(y, kernel)).sum()
        assert float(left) == pytest.approx(float(right), rel=1e-12)


def test_convolution_is_scipys() -> None:
    scipy_signal = pytest.importorskip("scipy.signal")
    x, kernel = texture(1, 24), torch.rand(5, 3)
    expected = scipy_signal.convolve2d(x[0, 0].numpy(), kernel.numpy(), mode="valid")
    assert np.allclose(uniform.convolve(x, kernel)[0, 0], expected, atol=1e-5)


def test_a_uniform_pair_is_aligned_and_noisy_as_asked() -> None:
    x = texture(1, 200)
    kernel = torch.zeros(9, 7)
    kernel[4, 3] = 1
    y, sharp = uniform.uniform_pair(x, kernel, sigma=0.05, generator=torch.Generator().manual_seed(0))
    assert y.shape == sharp.shape == (1, 3, 192, 194)
    inner = (sharp > 0.2) & (sharp < 0.8)
    assert float((y - sharp)[inner].std()) == pytest.approx(0.05, rel=0.05)
    with pytest.raises(ConfigError, match="odd"):
        uniform.uniform_pair(x, torch.ones(4, 4))


def test_a_hands_kernels_have_sum_one_and_their_mean_in_the_middle() -> None:
    kernels = uniform.random_kernels(torch.Generator().manual_seed(0), 500, (4.0, 32.0))
    reach = uniform.reach_px(32.0)
    assert kernels.shape == (500, 2 * reach + 1, 2 * reach + 1)
    assert torch.allclose(kernels.sum((1, 2)), torch.ones(500), atol=1e-5)
    place = torch.arange(-reach, reach + 1.0)
    for axis in (1, 2):
        assert float((kernels.sum(axis) * place).sum(1).abs().max()) < 0.01
    same = uniform.random_kernels(torch.Generator().manual_seed(0), 500, (4.0, 32.0))
    assert torch.equal(kernels, same)


def test_a_hand_strays_as_far_as_asked() -> None:
    low, high = 6.0, 24.0
    kernels = uniform.random_kernels(torch.Generator().manual_seed(1), 2000, (low, high))
    boxes = []
    for axis in (1, 2):
        used = kernels.sum(axis) > 0
        places = torch.arange(used.shape[1]) * used
        boxes.append(places.amax(1) - torch.where(used, places, 10**6).amin(1))
    diagonal = torch.stack(boxes).float().norm(dim=0)  # of whole pixels, so up to 2.9 more
    assert low <= float(diagonal.min())
    assert float(diagonal.max()) <= high + 2 * math.sqrt(2) + 0.1
    assert float(diagonal.median()) == pytest.approx(math.sqrt(low * high), abs=2)
