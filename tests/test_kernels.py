import pytest
import torch

from golfdeblur.learning import kernels, uniform

LOW, HIGH = 8.0, 40.0


@pytest.fixture(params=list(kernels.GENERATORS))
def drawn(request: pytest.FixtureRequest) -> torch.Tensor:
    return kernels.GENERATORS[request.param](torch.Generator().manual_seed(0), 300, (LOW, HIGH))


def test_kernels_have_sum_one_and_their_mean_in_the_middle(drawn: torch.Tensor) -> None:
    reach = uniform.reach_px(HIGH)
    assert drawn.shape == (300, 2 * reach + 1, 2 * reach + 1)
    assert bool((drawn >= 0).all())
    assert torch.allclose(drawn.sum((1, 2)), torch.ones(300), atol=1e-5)
    place = torch.arange(-reach, reach + 1.0)
    for axis in (1, 2):
        assert float((drawn.sum(axis) * place).sum(1).abs().max()) < 0.01


def test_kernels_extend_as_far_as_asked(drawn: torch.Tensor) -> None:
    diagonals = torch.stack(
        [(k > 0).nonzero().aminmax(dim=0).max - (k > 0).nonzero().aminmax(dim=0).min for k in drawn]
    )
    # The four pixels that a point is shared by add up to one pixel on each side.
    diagonal = diagonals.float().norm(dim=1)
    assert LOW - 2 < float(diagonal.min()) < LOW + 3
    assert HIGH - 4 < float(diagonal.max()) < HIGH + 3
    doubled = (diagonal > 16).float().mean()
    assert 0.4 < float(doubled) < 0.7


def test_the_same_seed_draws_the_same_kernels() -> None:
    for draw in kernels.GENERATORS.values():
        first, again, other = (draw(torch.Generator().manual_seed(s), 4, (LOW, HIGH)) for s in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other)


def _straightness(drawn: torch.Tensor) -> torch.Tensor:
    """Return the (B,) shares of the smaller axis in a kernel's spread: 0 for a line, 1 for a disc."""
    place = torch.arange(drawn.shape[-1]) - drawn.shape[-1] // 2.0
    xx, yy = ((drawn.sum(axis) * place**2).sum(1) for axis in (1, 2))
    xy = torch.einsum("bij,i,j->b", drawn, place, place)
    root = ((xx - yy) ** 2 + 4 * xy**2).sqrt()
    return ((xx + yy - root) / (xx + yy + root)).clamp(min=0).sqrt()


def test_hooks_are_nearly_straight_but_not_lines_and_particles_vary() -> None:
    generator = torch.Generator().manual_seed(3)
    hooks = _straightness(kernels.random_hooks(generator, 300, (20, 40)))
    particles = _straightness(kernels.random_trajectories(generator, 300, (20, 40)))
    assert 0.05 < float(hooks.quantile(0.1)) < float(hooks.quantile(0.9)) < 0.5
    assert float(particles.quantile(0.1)) < 0.15
    assert float(particles.quantile(0.9)) > 0.4


def test_trimming_takes_empty_margins_alone() -> None:
    kernel = torch.zeros(11, 11)
    kernel[5, 3:6] = 1 / 3
    small = kernels.trimmed(kernel)
    assert small.shape == (5, 5)
    assert torch.equal(small[2], torch.tensor([1 / 3, 1 / 3, 1 / 3, 0, 0]))
