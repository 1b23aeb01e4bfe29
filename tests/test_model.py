import concurrent.futures
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur import machine, runtimes, sharpness
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine import budget, passes
from golfdeblur.engine.passes import Restored, Stages, whole_frames
from golfdeblur.errors import ConfigError, ImageError, WeightsError
from golfdeblur.files.picture import from_samples
from golfdeblur.golf import strokes
from golfdeblur.model import Model, load
from golfdeblur.weights import EMBEDDED, embedded_names, find_weights


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load(tiny_model)


# strokes


def test_f_runs_once_then_g_and_each_only_when_asked() -> None:
    calls: list[str] = []
    y = np.zeros((1, 3, 4, 4), np.float32)
    made = strokes(lambda x: calls.append("f") or x + 0.5, lambda x: calls.append("g") or x * 0.5, y, steps=2)
    assert calls == []
    assert [s.index for s in made] == [0, 1, 2]
    assert calls == ["f", "g", "g"]


def test_strokes_stop_when_little_changes_and_say_so() -> None:
    y = np.zeros((1, 3, 4, 4), np.float32)
    made = list(strokes(lambda x: x + 0.5, lambda x: x + (1 - x) * 0.9, y, steps=50, stop_below=0.01))
    assert [s.settled for s in made] == [False, False, False, True]
    assert [s.change for s in made] == pytest.approx([0.5, 0.45, 0.045, 0.0045], rel=1e-4)


@pytest.mark.parametrize("steps", [-1, 101])
def test_impossible_steps(steps: int) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        list(strokes(np.copy, np.copy, np.zeros((1, 3, 2, 2), np.float32), steps=steps))


# the same kind and size out


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (50, 1), (7, 9), (64, 64), (65, 127), (33, 40, 1), (33, 40, 2), (33, 40, 3), (33, 40, 4)]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_an_array_comes_back_in_its_shape_and_type(model: Model, shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    given = (
        rng.random(shape).astype(dtype)
        if np.issubdtype(dtype, np.floating)
        else rng.integers(0, np.iinfo(dtype).max, shape, dtype)
    )
    before = given.copy()
    out = model.deblur(given)
    assert (out.shape, out.dtype) == (given.shape, given.dtype)
    assert np.array_equal(given, before)
    if given.ndim == 3 and given.shape[2] in (2, 4):
        assert np.array_equal(out[:, :, -1], given[:, :, -1])
    if given.size > 100:
        assert not np.array_equal(out, given)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_a_pillow_image_comes_back_in_its_mode(model: Model, photo: np.ndarray, mode: str) -> None:
    given = (
        Image.fromarray(photo[:, :, 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(photo).convert(mode)
    )
    out = model.deblur(given)
    assert (out.mode, out.size) == (given.mode, given.size)


def test_a_path_gives_a_path_beside_it(model: Model, jpeg: Path) -> None:
    out = model.deblur(jpeg)
    assert out == jpeg.with_name("photo-deblurred.jpg")
    assert Image.open(out).size == Image.open(jpeg).size
    assert isinstance(model.deblur(str(jpeg.rename(jpeg.with_name("b.jpg")))), str)
    with pytest.raises(ImageError, match="exists already; give overwrite=True"):
        model.deblur(jpeg.with_name("b.jpg"))
    assert model.deblur(jpeg.with_name("b.jpg"), overwrite=True) == jpeg.with_name("b-deblurred.jpg")
    assert model.deblur(jpeg.with_name("b.jpg"), output=str(jpeg.with_name("c.png"))) == jpeg.with_name("c.png")
    assert jpeg.with_name("c.png").exists()
    with pytest.raises(ConfigError, match="output= and overwrite= are for the path"):
        model.deblur(np.zeros((8, 8, 3), np.uint8), overwrite=True)


def test_a_model_shows_itself_in_one_line(model: Model) -> None:
    name, folder = model.weights.name, model.weights.folder
    assert repr(model) == f"<golfdeblur.Model {name}: F and G in {folder}, runtime onnxruntime>"
    assert {"load", "Model"} <= set(dir(golfdeblur))


def test_threads_are_shared_out_to_all_that_computes(
    model: Model, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    opened = runtimes.open_network
    monkeypatch.setattr(runtimes, "open_network", lambda *a: (seen.append(machine.threads()), opened(*a))[1])
    again = pickle.loads(pickle.dumps(load(model.weights.folder, threads=3)))
    assert set(seen) == {3}
    assert np.array_equal(again.deblur(photo), model.deblur(photo))


def test_strokes_are_a_generator_of_the_same_kind(model: Model, photo: np.ndarray) -> None:
    made = model.strokes(photo, steps=2)
    assert next(made).shape == photo.shape
    last = list(made)[-1]
    assert np.array_equal(last, model.deblur(photo, steps=2))


@pytest.mark.parametrize(
    "wrong", [np.full((4, 4, 3), 2.0), np.full((4, 4, 3), np.nan), np.zeros((4, 4), bool), 5, None]
)
def test_what_is_no_picture(model: Model, wrong: object) -> None:
    with pytest.raises(ImageError):
        model.deblur(wrong)


def test_grey_stays_grey(model: Model, photo: np.ndarray) -> None:
    grey = photo[:, :, 0]
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    expected = model.deblur(colour).astype(float).mean(2)
    assert np.abs(model.deblur(grey) - expected).max() <= 1


# weights


def test_tiles_of_a_large_picture_equal_the_full_frame(model: Model) -> None:
    x = np.random.default_rng(0).random((1, 3, 150, 201), np.float32)
    whole = model.f(x)
    assert np.abs(model.f(x, tile_px=64 * 64) - whole).max() <= 1e-6


@pytest.mark.parametrize("size", [(152, 200), (150, 201)])  # whole cells, and a border that is padded
def test_strokes_that_reuse_memory_equal_those_that_do_not(model: Model, size: tuple[int, int]) -> None:
    assert model.g is not None
    picture = from_samples(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    stages, plan = Stages(model.f, model.g, 4), budget.Plan(64 * 64, None)
    x = picture.rows(0, size[0])
    for stroke in whole_frames(picture, stages, plan, stop_below=0):
        x = (model.g if stroke.index else model.f)(x, tile_px=64 * 64)
        assert np.array_equal(stroke.pixels, x)


def test_a_model_is_safe_in_threads(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "plan", lambda need, most: budget.Plan(64 * 64, None))
    rng = np.random.default_rng(0)
    sizes = [(152, 200), (200, 152), (152, 200), (90, 70), (152, 200)]  # upright, lying, and another size
    pictures = [from_samples(rng.integers(0, 255, (*size, 3), np.uint8)) for size in sizes]
    alone = [load(model.weights.folder).restore(picture, stop_below=0.0).picture.colour for picture in pictures]
    again = [model.restore(picture, stop_below=0.0).picture.colour for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        at_once = pool.map(lambda picture: model.restore(picture, stop_below=0.0).picture.colour, pictures)
    for one, two, three in zip(alone, again, at_once, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)


def restored_elsewhere(model: Model, pixels: np.ndarray) -> np.ndarray:
    return model.deblur(pixels)


def test_a_model_goes_to_another_process(model: Model, photo: np.ndarray) -> None:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(restored_elsewhere, model, photo).result(), model.deblur(photo))
    copied = pickle.loads(pickle.dumps(load(model.weights.folder, max_memory=2**30)))
    assert (copied.weights, copied.runtime, copied.max_memory) == (model.weights, "onnxruntime", 2**30)


def test_memory_of_larger_tiles_is_given_back_before_smaller_ones_are_counted_on(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_model)
    picture = from_samples(np.random.default_rng(0).integers(0, 255, (150, 201, 3), np.uint8))
    released: list[int] = []
    stages = Stages(model.f, model.g, 1)
    monkeypatch.setattr(model.f.session, "_release", lambda: released.append(plans[0]))
    plans = [160 * 160, 96 * 96, 96 * 96, 64 * 64, 96 * 96]
    while plans:
        passes.restore(picture, stages, budget.Plan(plans[0], None), stop_below=0.0)
        del plans[0]
    assert released == [96 * 96, 64 * 64]


def test_instance_norm_in_too_little_memory_fades_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from golfdeblur.learning import checkpoint, export, networks

    torch.manual_seed(0)
    network = networks.ResidualCNN(4)
    torch.nn.init.normal_(network.tail.weight, std=0.002)
    for letter in ("F", "G"):
        checkpoint.save_network(tmp_path / f"{letter}.safetensors", network, {})
    export.export(tmp_path / "F.safetensors", tmp_path / "G.safetensors", tmp_path / "m", name="m", notes={})
    loaded = load(tmp_path / "m")
    picture = from_samples(np.random.default_rng(0).integers(0, 255, (300, 420, 3), np.uint8))
    whole = loaded.restore(picture, steps=1, stop_below=0.0)
    monkeypatch.setattr(budget, "plan", lambda need, most: budget.Plan(256**2, None, 256))
    tiled = loaded.restore(picture, steps=1)
    assert tiled.picture.size == picture.size
    assert tiled.changes == pytest.approx(whole.changes, rel=0.1)
    difference = tiled.picture.colour.astype(float) - whole.picture.colour
    assert 0 < np.abs(difference).mean() < 1  # other statistics, not another picture


def copy_model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_damaged_weights_are_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = copy_model(tiny_model, tmp_path)
    content = bytearray((folder / "G.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "G.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"G.onnx is damaged"):
        golfdeblur.load(folder)


@pytest.mark.parametrize("ruin", ["no config", "not json", "no networks", "other format", "no file"])
def test_unusable_model_folders(tiny_model: Path, tmp_path: Path, ruin: str) -> None:
    folder = copy_model(tiny_model, tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if ruin == "no config":
        path.unlink()
    elif ruin == "not json":
        path.write_text("{")
    elif ruin == "no networks":
        path.write_text(json.dumps({"format": 1}))
    elif ruin == "other format":
        path.write_text(json.dumps({**config, "format": 99}))
    else:
        (folder / "F.onnx").unlink()
    with pytest.raises(WeightsError) as caught:
        golfdeblur.load(folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_names_the_known() -> None:
    with pytest.raises(WeightsError, match="fast"):
        golfdeblur.load("huge")


# the embedded model


@pytest.mark.parametrize("name", embedded_names())
def test_the_embedded_weights_match_their_networks(name: str) -> None:
    config = find_weights(name).config()
    from golfdeblur.learning import checkpoint, networks

    total = 0
    for letter, entry in config["networks"].items():
        if letter in "KJ":  # of research/deconvolution
            continue
        network, _ = checkpoint.load_network(EMBEDDED / name / f"{letter}.onnx")
        assert network.spec == getattr(networks.PRESETS[name], letter.lower())
        assert entry["parameters"] == networks.count_parameters(network)
        assert entry["receptive_field_px"] == network.receptive_field_px
        assert entry["overlap_px"] == network.overlap_px
        assert (name, letter) != ("fast", "F") or "int8" in entry
        total += networks.count_parameters(network)
    assert total <= 700_000


def test_the_embedded_model_runs_tiles_like_the_full_frame() -> None:
    model = golfdeblur.load()
    x = np.random.default_rng(0).random((1, 4, 264, 400), np.float32)
    for runner, channels in ((model.f, 3), (model.stroke.g, 4)):
        given = x[:, :channels]
        assert np.abs(runner(given, tile_px=256 * 256) - runner(given)).max() <= 1e-6


def test_a_model_that_names_no_overlap_overlaps_by_its_receptive_field(tmp_path: Path) -> None:
    folder = copy_model(EMBEDDED / "fast", tmp_path)
    assert find_weights(folder).f.overlap_px == 96
    config = json.loads((folder / "config.json").read_text())
    del config["networks"]["F"]["overlap_px"]  # as in models exported before 2026-11-29
    (folder / "config.json").write_text(json.dumps(config))
    assert find_weights(folder).f.overlap_px == 112


def test_importing_is_quick_and_brings_no_torch() -> None:
    for code, unwanted in (
        ("import golfdeblur.cli", ("torch", "onnxruntime", "numpy", "PIL")),  # all that golf --help needs
        ("import golfdeblur; golfdeblur.load", ("torch", "onnxruntime", "rich", "typer")),
    ):
        code += f"; import sys; print(*[m for m in {unwanted} if m in sys.modules])"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.split() == []


def test_a_result_that_is_no_sharper_is_not_kept(monkeypatch: pytest.MonkeyPatch, photo: np.ndarray) -> None:
    model = golfdeblur.load()
    picture = from_samples(photo)
    monkeypatch.setattr(sharpness, "SHARP_BELOW", 0.0)
    restored = Restored(picture, [0.02], settled=False)  # the picture itself as its result
    monkeypatch.setattr(Model, "restore", lambda *a, **k: restored)
    assert "no sharper" in str(sharpness.why_keep(model, picture, restored))
    monkeypatch.setattr(Model, "restore", lambda *a, **k: Restored(picture, [0.01], settled=False))
    assert sharpness.why_keep(model, picture, restored) is None


def test_blurriness_is_a_share_of_the_steps_between_pixels() -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 1100, axis=0).repeat(3, axis=2)
    # Steps of 2 grey levels across, none down: a mean of about 1 grey level.
    assert sharpness.blurriness(from_samples(ramp), 0.5 / 255) == pytest.approx(0.5, rel=0.02)


# any size within a budget of memory


def test_strips_give_the_same_picture_as_whole_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    model = golfdeblur.load()
    blurry = np.random.default_rng(0).integers(0, 256, (413, 301, 3), np.uint8)
    blurry = np.asarray(Image.fromarray(blurry).resize((601, 827), Image.Resampling.BICUBIC))
    whole = model.restore(from_samples(blurry), steps=2)
    monkeypatch.setattr(budget, "plan", lambda need, most: budget.Plan(500 * 400, 64))
    strips = model.restore(from_samples(blurry), steps=2)
    assert np.array_equal(strips.picture.colour, whole.picture.colour)
    assert strips.changes == pytest.approx(whole.changes, rel=1e-4)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_self_ensemble_is_the_mean_over_all_turns(model: Model, photo: np.ndarray, kind: type) -> None:
    white = 1 if kind is np.float32 else np.iinfo(kind).max
    y = (photo / 255 * white).astype(kind)
    turned = [np.rot90(side, k) for side in (y, y[:, ::-1]) for k in range(4)]
    made = [model.deblur(np.ascontiguousarray(x), steps=1).astype(np.float64) for x in turned]
    back = [np.rot90(x, -k) for x, k in zip(made, [0, 1, 2, 3] * 2, strict=True)]
    mean = np.mean([x if i < 4 else x[:, ::-1] for i, x in enumerate(back)], axis=0)
    result = model.deblur(y, steps=1, self_ensemble=True)
    assert result.dtype == y.dtype
    assert np.abs(result - mean).max() <= (1e-6 if kind is np.float32 else 0.5)
    assert not np.array_equal(result, model.deblur(y, steps=1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("how", [{}, {"self_ensemble": True}, {"kernel": Kernel.from_disc(2)}])
def test_strength_blends_the_input_and_the_result(model: Model, photo: np.ndarray, kind: type, how: dict) -> None:
    white = 1 if kind is np.float32 else np.iinfo(kind).max
    y = (photo[:40, :40] / 255 * white).astype(kind)
    result = model.deblur(y, steps=1, **how)
    assert np.array_equal(model.deblur(y, steps=1, strength=0, **how), y)
    assert np.array_equal(model.deblur(y, steps=1, strength=1, **how), result)
    half = model.deblur(y, steps=1, strength=0.25, **how)
    expected = 0.75 * y.astype(np.float64) + 0.25 * result.astype(np.float64)
    assert half.dtype == y.dtype
    assert np.abs(half - expected).max() <= (1e-6 if kind is np.float32 else 0.51)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_impossible_strengths(model: Model, photo: np.ndarray, strength: float) -> None:
    with pytest.raises(ConfigError, match=r"0 \(the input\) to 1"):
        model.deblur(photo, strength=strength)


def test_a_self_ensemble_keeps_alpha_and_counts_its_memory(
    model: Model, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs: list[int] = []
    plan = budget.plan
    monkeypatch.setattr(budget, "plan", lambda need, most: needs.append(need.stored_bytes) or plan(need, most))
    samples = np.concatenate([photo, photo[:, :, :1]], axis=2)
    assert np.array_equal(model.deblur(samples, self_ensemble=True)[:, :, 3], samples[:, :, 3])
    model.deblur(samples)
    assert needs[:-1] == [needs[-1] + photo.nbytes + 4 * photo.size] * 8  # the picture beside its turn, and the sum


def test_every_stroke_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch, photo: np.ndarray, tiny_model: Path) -> None:
    model = golfdeblur.load(tiny_model)
    whole = list(model.strokes(photo, steps=1))
    monkeypatch.setattr(budget, "plan", lambda need, most: budget.Plan(500 * 400, 64))
    monkeypatch.setattr(passes, "whole_frames", None)
    strips = list(model.strokes(photo, steps=1))
    assert len(strips) == len(whole) == 2
    assert all(np.array_equal(a, b) for a, b in zip(strips, whole, strict=True))


def test_a_budget_that_is_too_small_says_what_is_enough(jpeg: Path) -> None:
    model = golfdeblur.load(max_memory=1000)
    with pytest.raises(ConfigError, match="--max-memory"):
        model.deblur(Image.open(jpeg))
