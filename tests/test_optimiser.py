import copy

import pytest
import torch
from torch import nn

from golfdeblur.learning import networks
from golfdeblur.learning.optimiser import UPDATE_RMS, Muon, Optimiser, hidden_kernels, orthogonalised


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_all_singular_values_become_nearly_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.98


def test_a_step_of_muon_has_the_size_of_adams() -> None:
    kernel = nn.Parameter(torch.zeros(24, 24, 3, 3))
    kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0)) * 1e-6
    Muon([kernel], lr=0.1).step()
    assert float(kernel.detach().square().mean().sqrt()) == pytest.approx(0.1 * UPDATE_RMS, rel=0.2)


@pytest.mark.parametrize("preset", ["fast", "paper"])
@pytest.mark.parametrize("letter", ["f", "g"])
def test_muon_leaves_first_last_and_thin_layers_to_adam(preset: str, letter: str) -> None:
    network = networks.build(getattr(networks.PRESETS[preset], letter))
    hidden = {id(p) for p in hidden_kernels(network)}
    named = dict(network.named_parameters())
    assert hidden
    for name, p in named.items():
        if id(p) in hidden:
            assert p.ndim == 4
            assert not name.startswith(("head", "tail"))


def test_the_state_comes_back() -> None:
    def made() -> tuple[nn.Module, Optimiser]:
        torch.manual_seed(0)
        network = networks.build(networks.PRESETS["fast"].g)
        return network, Optimiser(network, "muon", betas=(0.9, 0.99), weight_decay=0.0)

    def step(network: nn.Module, optimiser: Optimiser, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        for p in network.parameters():
            p.grad = torch.randn(p.shape, generator=rng)
        optimiser.step(1e-3)

    first, optimiser = made()
    step(first, optimiser, 1)
    state, weights = copy.deepcopy(optimiser.state_dict()), {k: v.clone() for k, v in first.state_dict().items()}
    step(first, optimiser, 2)
    second, other = made()
    second.load_state_dict(weights)
    other.load_state_dict(state)
    step(second, other, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
