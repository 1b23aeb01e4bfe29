import numpy as np
import pytest
import torch

from golfdeblur.engine import scales
from golfdeblur.errors import ConfigError
from golfdeblur.learning.golf import GolfOptimizer
from golfdeblur.learning.layers import BasicBlock, InstanceNorm
from golfdeblur.learning.networks import ResidualCNN, ResidualUNet, build, count_parameters

TABLE_1 = {16: (2352, 38016, 38016, 38016, 3347, 441, 120_188), 32: (4704, 151808, 151808, 151808, 5779, 441, 466_348)}


@pytest.mark.parametrize("filters", [16, 32])
def test_stages_of_the_paper_have_the_parameters_of_table_1(filters: int) -> None:
    network = ResidualCNN(filters)
    counts = [count_parameters(m) for m in (network.head, *network.stages, network.tail, network)]
    assert tuple(counts) == TABLE_1[filters]


def test_a_basic_block_is_pre_activation() -> None:
    names = [type(m).__name__ for m in BasicBlock(16, 3).branch]
    assert names == ["InstanceNorm", "ReLU", "Conv2d", "InstanceNorm", "ReLU", "Conv2d"]


def test_instance_norm_written_out_is_instance_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, x = InstanceNorm(4), torch.rand(2, 4, 9, 7)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    wanted = norm(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert norm(x).sub(wanted).abs().max() < 1e-5
    assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_the_paper_counts_50_layers() -> None:
    branches = 8 * 6
    assert branches + 2 == 50
    assert sum(len(stage) for stage in ResidualCNN(16).stages) == 8


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_both_networks_start_at_the_identity(name: str) -> None:
    model = GolfOptimizer.preset(name)
    y = torch.rand(2, 3, 32, 48)
    for x in model.iterates(y, 2):
        assert torch.equal(x, y)


def test_fast_keeps_its_budget() -> None:
    model = GolfOptimizer.preset("fast")
    assert count_parameters(model) <= 600_000
    assert not any(isinstance(m, torch.nn.InstanceNorm2d) for m in model.modules())


def test_iterates_is_lazy_and_applies_f_once_then_g() -> None:
    model = GolfOptimizer.preset("fast")
    calls = []
    model.f.forward = lambda y: calls.append("f") or y + 1
    model.g.forward = lambda x: calls.append("g") or x * 2
    iterates = model.iterates(torch.zeros(1), 3)
    assert calls == []
    assert float(next(iterates)) == 1
    assert calls == ["f"]
    assert [float(x) for x in iterates] == [2, 4, 8]
    assert calls == ["f", "g", "g", "g"]


@pytest.mark.parametrize(
    ("widths", "blocks"), [((8,), (2,)), ((8, 8), (1, 2)), ((8, 8, 8), (1, 1, 2)), ((4, 4, 4), (2, 0, 1))]
)
def test_the_receptive_field_is_what_gradients_reach(widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = ResidualUNet(widths, blocks).double()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.1)  # positive, so that nothing cancels and ReLU passes all
    radius, cell = network.receptive_field_px, network.multiple_px
    side = 2 * (-(-radius // cell) + 1) * cell
    x = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    out = network(x)
    reached = beyond = 0
    for pixel in range(side // 2, side // 2 + cell):
        (gradient,) = torch.autograd.grad(out[0, 0, pixel, side // 2], x, retain_graph=True)
        rows = torch.nonzero(gradient.abs().sum((0, 1, 3)))[:, 0]
        reached = max(reached, pixel - int(rows.min()), int(rows.max()) - pixel)
        beyond = max(beyond, side // 2 - int(rows.min()), int(rows.max()) - (side // 2 + cell - 1))
    assert reached == radius
    assert network.overlap_px == -(-beyond // cell) * cell


def test_several_scales_are_the_same_weights_again_and_again() -> None:
    torch.manual_seed(0)
    network = ResidualUNet((4, 8), (1, 1), scales=3)
    torch.nn.init.normal_(network.tail[0].weight, std=0.1)
    assert count_parameters(network) == count_parameters(ResidualUNet((4, 8), (1, 1))) + 3 * 4 * 36
    assert network.multiple_px == 2 * ResidualUNet((4, 8), (1, 1)).multiple_px
    x = torch.rand(2, 3, 32, 64)
    hint = torch.zeros(2, 3, 8, 16)
    for size in (8, 4, 2):  # a quarter, a half, all of it
        seen = torch.nn.functional.avg_pool2d(x, size // 2) if size > 2 else x
        hint = torch.nn.functional.interpolate(hint, size=seen.shape[-2:]) if size < 8 else torch.zeros_like(seen)
        hint = network(torch.cat([seen, hint], 1))
    assert torch.allclose(network(x), hint, atol=1e-6)

    def one_scale(x: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        height, width = x.shape[2:]
        whole = np.pad(x, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)), mode="symmetric")
        given = np.concatenate([whole, coarse.repeat(2, axis=2).repeat(2, axis=3)], axis=1)
        return x + network(torch.from_numpy(given))[..., :height, :width].numpy()

    with torch.no_grad():
        x = x[..., :23, :41]  # whole cells at no scale
        stated = scales.residual(one_scale, x.numpy(), 3, multiple=network.multiple_px)
        assert np.allclose(network(x).numpy(), stated, atol=1e-6)
    twice = ResidualUNet((4, 8), (1, 1), scales=2)
    assert (twice.receptive_field_px, twice.overlap_px) == (network.receptive_field_px, network.overlap_px)


def test_the_paper_has_no_finite_receptive_field() -> None:
    assert ResidualCNN(16).receptive_field_px is None
    assert ResidualCNN(16).overlap_px is None


def test_build_returns_the_same_network_from_its_spec() -> None:
    for preset in ("paper", "fast"):
        network = GolfOptimizer.preset(preset).f.residual
        again = build(network.spec)
        again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: build({"network": "transformer"}),
        lambda: ResidualUNet((8, 8), (1,)),
        lambda: GolfOptimizer.preset("big"),
    ],
)
def test_unknown_networks_are_refused_by_name(wrong) -> None:
    with pytest.raises(ConfigError, match=r"unknown|one entry per level"):
        wrong()


def test_the_convolutions_of_the_paper_s_f_reach_93_px() -> None:
    """Table 1's last kernel is 7 x 7; with the 3 x 3 of the text it would be 89."""
    network = ResidualCNN(32)
    sides = [m.kernel_size[0] for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert 1 + sum(side - 1 for side in sides) == 93
    assert 93 - (network.tail.kernel_size[0] - 3) == 89
