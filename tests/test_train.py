import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.learning import blur, checkpoint, data, losses, networks, train
from golfdeblur.learning.train import SourceConfig, TrainConfig, learning_rate, read_recipe

TINY = TrainConfig(
    steps=6,
    validate_every=3,
    warmup_steps=1,
    bf16=False,
    mixture=data.MixtureConfig(batch=2, patch_px=32, block_px=48, block_pairs=4, steps_per_block=2, blocks_kept=2),
    blur=blur.BlurConfig(length_px=(2, 6), centre_px=20),
    sources=(SourceConfig("photos", "photos"),),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (120, 130, 3), np.uint8)
        Image.fromarray(pixels).resize((390, 360)).save(folder / f"{i}.png")
    return {"photos": folder}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_network(path)[0].state_dict()


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return all(torch.equal(left[k], right[k]) for k in left)


def test_f_then_g(tmp_path: Path, photos: dict[str, Path]) -> None:
    rows: list[dict] = []
    f = train.train(TINY, photos, tmp_path / "f", report=rows.append)
    assert [row["step"] for row in rows] == [3, 6]
    assert len(rows[0]["psnr_db"]["photos"]) == 2  # the blurry image and x0
    config = dataclasses.replace(TINY, stage="g", iterates=2)
    g = train.train(config, photos, tmp_path / "g", propagator=f, report=rows.append)
    assert len(rows[-1]["psnr_db"]["photos"]) == 4  # y, x0, x1, x2
    network, history = checkpoint.load_network(g)
    assert history["propagator_sha256"] == checkpoint.network_hash(checkpoint.load_network(f)[0])
    assert network.spec == networks.PRESETS["fast"].g
    assert len((tmp_path / "g" / "log.jsonl").read_text().splitlines()) == 2


def test_an_interrupted_run_ends_like_an_unbroken_one(tmp_path: Path, photos: dict[str, Path]) -> None:
    whole = train.train(TINY, photos, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: dict) -> None:
        raise Stop

    config = dataclasses.replace(TINY, checkpoint_minutes=0)
    with pytest.raises(Stop):
        train.train(config, photos, tmp_path / "broken", report=stop)
    assert torch.load(tmp_path / "broken" / "last.pt", weights_only=True)["step"] == 2
    assert same(whole, train.train(config, photos, tmp_path / "broken"))


def test_a_corrupt_state_falls_back_on_the_one_before(tmp_path: Path, photos: dict[str, Path]) -> None:
    config = dataclasses.replace(TINY, checkpoint_minutes=0)
    whole = train.train(config, photos, tmp_path)
    final = weights(whole)
    (tmp_path / "last.pt").write_bytes(b"cut short")
    again = weights(train.train(config, photos, tmp_path))
    assert all(torch.equal(final[k], again[k]) for k in final)


def test_another_recipe_does_not_resume(tmp_path: Path, photos: dict[str, Path]) -> None:
    train.train(dataclasses.replace(TINY, steps=1), photos, tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        train.train(dataclasses.replace(TINY, steps=2), photos, tmp_path)


def test_fine_tuning_starts_from_given_weights(tmp_path: Path, photos: dict[str, Path]) -> None:
    first = train.train(TINY, photos, tmp_path / "a")
    config = dataclasses.replace(TINY, steps=1, lr=1e-12, lr_end=1e-12, weight_decay=0)
    second = train.train(config, photos, tmp_path / "b", initial=first)
    for name, value in weights(first).items():
        assert torch.allclose(value, weights(second)[name], atol=1e-6)
    with pytest.raises(ConfigError, match="another network"):
        train.train(dataclasses.replace(TINY, stage="g"), photos, tmp_path / "c", propagator=first, initial=first)


def test_training_lowers_the_loss(tmp_path: Path, photos: dict[str, Path]) -> None:
    rows: list[dict] = []
    config = dataclasses.replace(TINY, steps=60, validate_every=20, lr=2e-3)
    train.train(config, photos, tmp_path, report=rows.append)
    blurry, x0 = rows[-1]["psnr_db"]["photos"]
    assert x0 > blurry
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_max_minutes_ends_with_a_checkpoint(tmp_path: Path, photos: dict[str, Path]) -> None:
    train.train(TINY, photos, tmp_path, max_minutes=0)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 1
    assert (tmp_path / "F.safetensors").exists()


def test_data_must_match_the_recipe(tmp_path: Path, photos: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="needs data for photos"):
        train.train(TINY, {}, tmp_path)
    with pytest.raises(ConfigError, match="cats is not in the recipe"):
        train.train(TINY, {**photos, "cats": tmp_path}, tmp_path)
    with pytest.raises(ConfigError, match="--propagator"):
        train.train(dataclasses.replace(TINY, stage="g"), photos, tmp_path)


def test_learning_rates() -> None:
    cosine = TrainConfig(steps=100, lr=1.0, lr_end=0.1, warmup_steps=10)
    assert learning_rate(cosine, 0) == pytest.approx(0.1)
    assert learning_rate(cosine, 50) == pytest.approx(0.55)
    assert learning_rate(cosine, 100) == pytest.approx(0.1)
    paper = TrainConfig(steps=500_000, lr=1e-3, lr_end=0.3**11, schedule="exponential", warmup_steps=0)
    assert learning_rate(paper, 500_000) == pytest.approx(1.77e-6, rel=1e-2)


def test_every_recipe_is_valid() -> None:
    found = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
    assert found
    for path in found:
        assert read_recipe(path).sources


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stpes = 5", "steps"),
        ("[mixture]\npatch_size = 5", "patch_px"),
        ("[blur]\nframe = [7]", "frames"),
        ("[[sources]]\nname = 'a'\nkind = 'cats'", "kind 'cats'"),
        ("stage = 'h'", "'f' or 'g'"),
        ("lr = 0.0", "lr"),
        ("steps = ", "not valid TOML"),
    ],
)
def test_wrong_recipes_get_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_recipe(tmp_path / "r.toml")


def test_content_losses() -> None:
    x, sharp = torch.full((2, 3, 8, 8), 0.6), torch.full((2, 3, 8, 8), 0.5)
    assert float(losses.mse(x, sharp)) == pytest.approx(0.12)
    assert float(losses.charbonnier(x, sharp)) == pytest.approx(0.1, abs=1e-4)
    assert float(losses.psnr(x, sharp)) == pytest.approx(-2, abs=1e-3)
    assert float(losses.spectrum_l1(sharp, sharp)) == 0
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 3, 16, 16, generator=rng), torch.rand(1, 3, 16, 16, generator=rng)
    parseval = torch.fft.fft2(a - b, norm="ortho").abs().square().sum()
    assert float(parseval) == pytest.approx(float(((a - b) ** 2).sum()), rel=1e-5)


def test_checkpoints_come_back_whole_or_say_why(tmp_path: Path) -> None:
    network = networks.build(networks.PRESETS["fast"].g)
    checkpoint.save_network(tmp_path / "G.safetensors", network, {"steps": 3})
    again, history = checkpoint.load_network(tmp_path / "G.safetensors")
    assert checkpoint.network_hash(again) == checkpoint.network_hash(network)
    assert history == {"steps": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["G.safetensors"]
    (tmp_path / "G.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match="not a readable"):
        checkpoint.load_network(tmp_path / "G.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        checkpoint.load_network(tmp_path / "none")
    assert json.dumps(network.spec)


def test_the_command_trains_and_explains(tmp_path: Path, photos: dict[str, Path]) -> None:
    from .test_cli import fails, golf

    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        "steps = 2\nvalidate_every = 1\nbf16 = false\n"
        "[mixture]\nbatch = 2\npatch_px = 32\nblock_px = 48\nblock_pairs = 4\n"
        "[blur]\nlength_px = [2, 6]\ncentre_px = 20\n"
        "[[sources]]\nname = 'photos'\nkind = 'photos'\n"
    )
    data_option = f"photos={photos['photos']}"
    result = golf("train", recipe, "--data", data_option, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        "1",
        "2",
        str(tmp_path / "run" / "F.safetensors"),
    ]
    fails(golf("train", recipe, "--data", "photos", "--out", tmp_path / "x"), "NAME=PATH")
    fails(golf("train", recipe, "--data", "photos=/none", "--out", tmp_path / "x"), "/none", "does not exist")
