from pathlib import Path

import pytest

from golfdeblur.errors import ConfigError
from golfdeblur.learning.recipe import Recipe, find_recipe, learning_rate, read_recipe


def test_a_recipe_of_the_package_has_a_name(tmp_path: Path) -> None:
    assert read_recipe(find_recipe(Path("tiny-cpu"))).model == "tiny"
    own = tmp_path / "own.toml"
    own.write_text("steps = 3")
    assert find_recipe(own) == own
    with pytest.raises(ConfigError, match="tiny-cpu"):
        find_recipe(Path("huge"))


def test_learning_rates() -> None:
    cosine = Recipe(steps=100, lr=1.0, lr_end=0.1, warmup_steps=10)
    assert learning_rate(cosine, 0) == pytest.approx(0.1)
    assert learning_rate(cosine, 50) == pytest.approx(0.55)
    assert learning_rate(cosine, 100) == pytest.approx(0.1)
    paper = Recipe(steps=500_000, lr=1e-3, lr_end=0.3**11, schedule="exponential", warmup_steps=0)
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
        ("[[sources]]\nname = 'a'\nkind = 'cats'", "kind is 'cats'"),
        ("stage = 'h'", "use one of f, g"),
        ("lr = 0.0", "lr"),
        ("steps = ", "not valid TOML"),
    ],
)
def test_wrong_recipes_get_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_recipe(tmp_path / "r.toml")


def test_settings_replace_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("lr = 1e-4\n[mixture]\nbatch = 4\n")
    config = read_recipe(recipe, ["lr=3e-4", "mixture.batch=16", "model=paper", "blur.frames=[7, 9]", "compiled=true"])
    assert (config.lr, config.mixture.batch, config.model) == (3e-4, 16, "paper")
    assert config.blur.frames == (7, 9)
    assert config.compiled


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lr", "key=value"),
        ("=3", "key=value"),
        ("lrr=3", "'lr'"),
        ("mixture.bach=3", "'batch'"),
        ("steps=many", "type int"),
        ("steps=1.5", "type int"),
        ("compiled=1", "type bool"),
        ("betas=0.9", "a list"),
        ("lr.x=1", "no table"),
        ("mixture=3", "table of keys"),
        ("sources=3", "list"),
        ("precision=fp16", "use one of auto, bf16, float32"),
        ("lr=inf", "finite"),
        ("blur.zoom=nan", "finite"),
        ("betas=[0.9]", "must have 2"),
        ("betas=['a', 'b']", "type float"),
        ("betas=[2, 3]", "betas is 2"),
        ("blur.frames=[7.5]", "type int"),
        ("blur.open_share=[0.5, 2]", "nor end above 1"),
        ("blur.jpeg_quality=[0, 90]", "not start below 1"),
        ("blur.noise_sigma=[0.2, 0.1]", "must rise"),
        ("blur.spin_degrees=-1", "must not be negative"),
        ("mixture.batch=0", "batch is 0"),
        ("mixture.steps_per_block=0", "steps_per_block is 0"),
        ("mixture.patch_px=-4", "patch_px is -4"),
        ("mixture.identity=2", "identity is 2"),
    ],
)
def test_wrong_settings_get_a_sentence(tmp_path: Path, setting: str, words: str) -> None:
    (tmp_path / "r.toml").write_text("lr = 1e-4\n")
    with pytest.raises(ConfigError, match=words):
        read_recipe(tmp_path / "r.toml", [setting])


def test_the_papers_recipes_are_the_papers() -> None:
    folder = Path(__file__).parent.parent / "recipes"
    f, g = read_recipe(folder / "paper-f.toml"), read_recipe(folder / "paper-g.toml")
    for config, steps in ((f, 500_000), (g, 200_000)):
        assert (config.model, config.steps, config.iterates) == ("paper", steps, 5)
        assert config.betas == (0.9, 0.999)
        assert config.mixture.batch == 4
        assert config.mixture.patch_px == 256
        assert (config.content, config.perceptual, config.balance) == ("mse", "vgg11-bn", 5e-6)
        assert learning_rate(config, 0) == pytest.approx(1e-3)
        assert learning_rate(config, steps) == pytest.approx(0.3**11, rel=1e-6)
