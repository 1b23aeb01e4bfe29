import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import golfdeblur
from golfdeblur import metrics
from golfdeblur.errors import ConfigError
from golfdeblur.experiments import convergence, known_kernel, pictures, prior, report, theory, trials
from golfdeblur.learning import uniform
from golfdeblur.learning.networks import count_parameters

from .test_cli import fails, here, refused

NAMES = ["prior", "forgetting", "balance", "convergence", "gradient-field", "hard", "known-kernel", "tables", "theory"]


def test_all_of_them_run_and_report(tmp_path: Path) -> None:
    result = here("experiment", "all", "--quick", "--out", tmp_path / "all")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "all" / "report.md").read_text()
    for name in NAMES:
        found = json.loads((tmp_path / "all" / name / "result.json").read_text())
        assert found["name"] == name
        assert found["verdict"] in text
        assert f"## {name}" in text
    for figure in (tmp_path / "all").rglob("*.png"):
        assert f"({figure.parent.name}/{figure.name})" in text
        assert Image.open(figure).width > 100
    assert len(list((tmp_path / "all").rglob("*.svg"))) >= 6
    fails(here("experiment", "prior", "--quick", "--out", tmp_path / "all"), "exists already")


def test_a_smoke_run_says_what_it_is_and_never_that_a_claim_held(tmp_path: Path) -> None:
    settings = report.Settings(quick=True, model="fast", seeds=2)
    held = report.Result("x", "claim", {"one": True, "two": True}, "verdict", {"equal": float("inf")})
    text = report.write(held, tmp_path, settings).read_text()
    assert "smoke run" in text
    assert "held here" not in text
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["held"] == "-"
    assert found["made"]["quick"] is True
    assert found["numbers"]["equal"] is None


@pytest.mark.parametrize(
    ("parts", "answer"),
    [({"a": True}, "yes"), ({"a": False}, "no"), ({"a": True, "b": False}, "in part"), ({}, "-")],
)
def test_a_claim_holds_by_its_parts(parts: dict[str, bool], answer: str) -> None:
    assert report.Result("x", "claim", parts, "verdict", {}).answer(report.Settings()) == answer


def test_a_report_names_model_data_version_and_seeds(tmp_path: Path) -> None:
    for folder in ("blur", "sharp"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / folder / "a.png")
    made = report.Settings(data=tmp_path / "set").as_json()
    weights = golfdeblur.load().weights
    assert made["sha256"] == {letter: network.sha256 for letter, network in weights.networks.items()}
    assert set(made["sha256"]) >= {"F", "G"}
    assert made["data"]["pairs"] == 1
    assert made["version"] == golfdeblur.__version__
    for folder in ("blur", "sharp"):
        (tmp_path / "set" / folder / "a.png").rename(tmp_path / "set" / folder / "b.png")
    assert report.Settings(data=tmp_path / "set").as_json()["data"]["sha256"] != made["data"]["sha256"]
    text = report.section(report.Result("x", "c", {"p": False}, "v", {}), ".", report.Settings(data=tmp_path / "set"))
    assert weights.f.sha256[:12] in text
    assert "seeds 0 to 4" in text
    assert "did not hold" in text


def test_equal_images_have_no_finite_psnr() -> None:
    x = torch.rand(3, 16, 16)
    assert trials.mean_psnr_db(lambda y: y, [(x, x)], 8) == float("inf")
    assert "| equal |" in report.Table("", ("psnr",), [(float("inf"),)]).markdown()
    assert "| E[x \\| y] |" in report.Table("", ("what",), [("E[x | y]",)]).markdown()


def test_of_all_those_that_can_run_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def needy(settings: report.Settings) -> report.Result:
        raise ConfigError("This experiment needs pairs.")

    for name in NAMES:
        monkeypatch.setattr(f"golfdeblur.experiments.{name.replace('-', '_')}.run", needy)
    monkeypatch.setattr(prior, "run", lambda settings: report.Result("prior", "claim", {"part": True}, "verdict", {}))
    assert "8 of 9 experiments failed" in refused("experiment", "all", "--out", tmp_path / "all")
    assert "golf: hard: This experiment needs pairs." in capsys.readouterr().err
    assert "## prior" in (tmp_path / "all" / "report.md").read_text()


def test_unusable_data_are_refused_before_anything_runs(tmp_path: Path) -> None:
    assert "holds no pairs" in refused("experiment", "all", "--data", tmp_path, "--out", tmp_path / "all")


def test_without_data_they_say_what_they_need(tmp_path: Path) -> None:
    fails(here("experiment", "convergence", "--out", tmp_path / "x"), "--data")
    for name in ("gradient-field", "hard", "known-kernel", "forgetting", "balance", "theory"):
        assert "--data" in refused("experiment", name, "--out", tmp_path / name)


def test_the_prior_networks_are_the_papers() -> None:
    net = prior.network()
    assert [count_parameters(layer) for layer in net if count_parameters(layer)] == [12, 40, 36, 8]


def test_the_analytic_step_lands_on_the_truth() -> None:
    u = (2 * torch.rand(50, 2) - 1).requires_grad_(True)
    step = torch.autograd.grad(prior.analytic(u).sum(), u)[0]
    assert torch.allclose(u - step, prior.truth(u), atol=1e-6)
    assert torch.allclose(prior.truth(prior.truth(u)), u)


def test_a_learned_gradient_beats_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "SAMPLES", 8_000)
    found = prior.run(report.Settings(seeds=1)).numbers
    assert found["accuracy"]["mean"] >= 0.98
    assert found["learned_mse_per_image"]["mean"] < 0.02
    assert found["logit_best_mse_per_value"]["mean"] > 0.3
    assert found["logit_mse_per_image"]["mean"] == pytest.approx(2 * found["logit_mse_per_value"]["mean"])
    assert found["logit_times_too_long"]["mean"] > 5
    assert found["learned_off_on_sharp"]["mean"] > 5 * found["both_off_on_sharp"]["mean"]


def test_integrating_the_analytic_gradient_gives_the_analytic_prior() -> None:
    u = 2 * torch.rand(20, 2) - 1
    integrated = prior._integrated(lambda v: -v.sum(1, keepdim=True).expand_as(v), u)
    assert torch.allclose(integrated, prior.analytic(u), atol=1e-3)


def test_the_trace_of_a_perfect_corrector(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(40, 200, (32, 40, 3), np.uint8)
    y = np.clip(sharp + rng.normal(0, 20, sharp.shape), 0, 255).astype(np.uint8)
    target = pictures.as_input(sharp)
    trace = convergence._trace(lambda x: x, lambda x: x + (target - x) / 2, pictures.as_input(y), target, 3)
    assert trace["cosine"] == pytest.approx([1, 1, 1], abs=1e-5)
    assert trace["squared_error"][1:] == pytest.approx([e / 4 for e in trace["squared_error"][:-1]], rel=1e-4)
    assert sorted(trace["psnr_db"]) == trace["psnr_db"]


def test_the_strokes_of_a_model_with_a_data_term_are_followed_and_gain() -> None:
    settings = report.Settings(quick=True)
    trace = convergence._trace(*next(convergence._cases(settings)), 2)
    assert trace["psnr_db"][2] > trace["psnr_db"][1] + 1
    assert trace["cosine"][0] > 0.3
    result = known_kernel.run(settings)
    best = max(result.numbers["rivals_psnr_db"].values())
    assert result.parts["G behind the data step is better than a classical prior"] is (
        result.numbers["strokes_psnr_db"] > best
    )


def test_a_descent_with_the_kernel_known_restores_and_a_perfect_prior_helps() -> None:
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    whole = pictures.as_input(rng.integers(0, 256, (16, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1))
    (kernel,) = uniform.random_kernels(generator, 1, (4.0, 6.0))
    y, sharp = uniform.uniform_pair(torch.from_numpy(whole), kernel)
    problem = known_kernel.Problem(pictures.as_pixels(sharp.numpy()), y.numpy(), kernel)
    plain, _ = known_kernel.descend(problem, None, beta=0, iterations=30)
    assert list(plain) == sorted(plain)
    assert plain[-1] > metrics.psnr(pictures.as_pixels(y.numpy()), problem.sharp) + 3
    helped, restored = known_kernel.descend(problem, lambda x: whole, beta=0.5, iterations=30)
    assert helped[-1] > plain[-1] + 10
    assert metrics.psnr(restored, problem.sharp) == helped[-1]


def test_measures_of_pictures() -> None:
    flat, striped = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20, 3), np.uint8)
    striped[:, ::2] = 200
    assert pictures.sharpness(flat) == 0
    assert pictures.sharpness(striped) == 400
    assert pictures.histogram_distance(flat, flat) == 0
    assert pictures.histogram_distance(flat, striped) == 1
    assert pictures.histogram_distance(striped, np.roll(striped, 1, 1)) == 0


def test_behind_the_posterior_mean_the_best_corrector_is_the_identity() -> None:
    rows = theory.best_corrector(theory.posterior_mean, seed=1)
    assert rows[:, 1] == pytest.approx(rows[:, 0], abs=0.06)
    assert theory._distance(rows) < 0.01
    assert theory._distance(theory.best_corrector(lambda y: y / 2, seed=1)) > 0.1


def test_a_gradient_is_symmetric_and_what_has_no_symmetry_is_half() -> None:
    rng, x = np.random.default_rng(0), np.full((1, 1, 6, 6), 0.5, np.float32)
    matrix = rng.normal(size=(36, 36)).astype(np.float32)

    def linear(m: np.ndarray):  # type: ignore[no-untyped-def]
        return lambda v: (m @ v.ravel()).reshape(v.shape)

    share = {
        name: np.mean([theory.asymmetry(linear(m), x, rng) for _ in range(20)])
        for name, m in (("symmetric", matrix + matrix.T), ("any", matrix), ("antisymmetric", matrix - matrix.T))
    }
    assert share["symmetric"] < 1e-3
    assert 0.35 < share["any"] < 0.65
    assert share["antisymmetric"] > 0.999


def test_a_denoiser_points_against_noise() -> None:
    rng, x = np.random.default_rng(0), np.full((1, 3, 40, 40), 0.5, np.float32)
    assert theory._against_noise(lambda v: 0.5 - v, x, rng) == pytest.approx(1, abs=1e-4)
    assert theory._against_noise(lambda v: v, x, rng) == pytest.approx(-1, abs=1e-4)


def test_patches_of_one_distribution_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    noise, more, blurry = (rng.integers(0, 256, (4, 128, 128, 3)).astype(np.uint8) for _ in range(3))
    blurry = ((blurry.astype(int) + np.roll(blurry, 1, 2)) // 2).astype(np.uint8)
    auc, error = theory.told_apart(list(noise), list(more))
    assert abs(auc - 0.5) < 4 * error
    assert theory.told_apart(list(noise), list(blurry))[0] > 0.99
