"""Eqs. 2 and 5: the kernel, the data term, reading one from the other, and the strokes made of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golfdeblur import golf as golf_rules
from golfdeblur import load
from golfdeblur.deconvolution import data_term, estimation, fourier, light, pyramid, uniformity
from golfdeblur.deconvolution.kernel import Kernel
from golfdeblur.engine.deconvolving import Deconvolution, Deconvolver, StrokeNetworks, busiest, deconvolved
from golfdeblur.errors import ConfigError, ImageError

PHOTO = Path(__file__).parent.parent / "examples" / "walkway.jpg"


def plane(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width), np.float32)


def drawn(side: int) -> np.ndarray:
    """A picture of rectangles and discs, sharp everywhere, (side, side)."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:side, 0:side]
    x = np.full((side, side), 0.5, np.float32)
    for _ in range(90):
        top, left, height, width = rng.integers((0, 0, 6, 6), (side, side, side // 6, side // 6))
        x[top : top + height, left : left + width] = rng.random()
        row, column, radius = rng.integers((0, 0, 3), (side, side, side // 10))
        x[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = rng.random()
    return x


def hand_shake() -> np.ndarray:
    """A bent path of 13 px."""
    t = np.linspace(-1, 1, 400)
    taps = np.zeros((15, 15))
    np.add.at(taps, (np.rint(7 + 5 * t).astype(int), np.rint(7 + 4 * t**2 - 1.3).astype(int)), 1 + 0.5 * t)
    return (taps / taps.sum()).astype(np.float32)


def blurred(x: np.ndarray, taps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k * x without its borders, as a camera sees it, with a little noise, and the part of x that it shows."""
    edge = len(taps) // 2
    y = data_term.convolve(x, taps)[edge:-edge, edge:-edge]
    y = y + np.random.default_rng(1).normal(0, 0.002, y.shape).astype(np.float32)
    return y.clip(0, 1), x[edge:-edge, edge:-edge]


def psnr(a: np.ndarray, b: np.ndarray, border: int = 16) -> float:
    inner = (a - b)[..., border:-border, border:-border]
    return float(-10 * np.log10(np.square(inner).mean()))


@pytest.mark.parametrize("shape", [(5, 5), (3, 9), (7, 2), (41, 41)])
def test_the_adjoint_is_exact(shape: tuple[int, int]) -> None:
    x, y, taps = plane(24, 30), plane(24, 30, 1), plane(*shape, seed=2)
    left = float((data_term.convolve(x, taps) * y).sum(dtype=float))
    right = float((x * data_term.convolve_adjoint(y, taps)).sum(dtype=float))
    assert left == pytest.approx(right, rel=1e-4)


def test_the_gradient_s_adjoint_and_power_are_exact() -> None:
    x, a, b = plane(20, 24), plane(20, 24, 1), plane(20, 24, 2)
    across, down = fourier.gradient(x)
    product = float((across * a + down * b).sum(dtype=float))
    assert product == pytest.approx(float((x * fourier.gradient_adjoint(a, b)).sum(dtype=float)), rel=1e-4)
    twice = fourier.inverse(fourier.gradient_power(x.shape) * fourier.transform(x), x.shape)
    assert np.allclose(fourier.gradient_adjoint(across, down), twice, atol=1e-5)


def test_convolution_is_that_of_eq_1() -> None:
    x, taps = plane(16, 18), plane(3, 5, 1)
    by_hand = sum(
        taps[i, j] * np.roll(x, (i - 1, j - 2), (0, 1)) for i in range(3) for j in range(5)
    )  # (k * x)(p) = sum of k(q) x(p - q)
    assert np.allclose(data_term.convolve(x, taps), by_hand, atol=1e-5)


def test_a_point_changes_nothing() -> None:
    y = plane(40, 50)
    point = Kernel(np.ones((1, 1)))
    assert np.allclose(data_term.DataTerm(y, point.taps).step(y, 0.01), y, atol=1e-5)
    smooth = drawn(64)
    assert psnr(data_term.total_variation(smooth, point.taps, 2e-4), smooth) > 45


def test_the_step_solves_its_equation() -> None:
    x, y, taps, rho = plane(40, 50), plane(40, 50, 1), hand_shake(), 0.02
    term = data_term.DataTerm(y, taps)
    spectrum = fourier.transform(fourier.continued(x, 2 * term.margin))
    z = fourier.inverse((term.pulled + rho * spectrum) / (term.power + rho), term.wrapped_shape)
    wrapped = fourier.continued(x, 2 * term.margin)
    slope = data_term.convolve_adjoint(data_term.convolve(z, taps) - term.y, taps) + rho * (z - wrapped)
    assert abs(slope).max() < 1e-4
    assert np.allclose(term.step(x, rho), z[:40, :50], atol=1e-6)


@pytest.mark.parametrize("solve", [data_term.wiener, data_term.total_variation])
def test_a_known_kernel_is_taken_out(solve) -> None:  # type: ignore[no-untyped-def]
    y, x = blurred(drawn(180), hand_shake())
    assert psnr(solve(y, hand_shake(), 1e-3), x) > psnr(y, x) + 6


def test_no_echo_of_the_border() -> None:
    y, x = blurred(np.tile(np.linspace(0, 1, 180, dtype=np.float32), (180, 1)), hand_shake())
    assert abs(data_term.total_variation(y, hand_shake(), 1e-3) - x).max() < 0.12


def test_a_kernel_is_read_from_a_blurry_picture() -> None:
    taps = hand_shake()
    y, x = blurred(drawn(220), taps)
    found = Kernel(estimation.placed(pyramid.blind_taps(y, 21), x, y))
    assert psnr(data_term.total_variation(y, found.taps, 2e-3), x) > psnr(y, x) + 5
    read, true = (np.pad(k, (41 - len(k)) // 2) for k in (found.taps, taps))
    likeness = (read * true).sum() / np.linalg.norm(read) / np.linalg.norm(true)
    assert likeness > 0.8


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_flat_picture_has_the_kernel_of_a_point(value: float) -> None:
    y = np.full((40, 40), value, np.float32)
    assert np.isfinite(pyramid.blind_taps(y, 9)).all()


def test_noise_is_read_without_a_fault() -> None:
    taps = pyramid.blind_taps(plane(60, 60), 15)
    assert taps.sum() == pytest.approx(1, rel=1e-5)
    assert taps.min() >= 0


def test_light_and_back() -> None:
    x = np.linspace(-0.1, 1.2, 500, dtype=np.float32)
    assert np.allclose(light.to_srgb(light.to_linear(x)), x, atol=1e-5)
    assert light.to_linear(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-4)


def test_a_kernel_is_square_odd_and_of_sum_1() -> None:
    kernel = Kernel(np.array([[0, 2, 0, 0], [0, 0, 2, 0]]))
    assert kernel.taps.shape == (5, 5)
    assert kernel.taps.sum() == pytest.approx(1)
    assert kernel.taps[1, 1] == kernel.taps[2, 2] == 0.5  # the middle of 2 x 4 lies at (1, 2)
    assert kernel.extent_px == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    "taps",
    [np.zeros((3, 3)), np.full((3, 3), np.nan), -np.ones((3, 3)), np.ones(3), np.ones((303, 3)), np.ones((0, 3))],
)
def test_bad_taps_are_refused_in_a_sentence(taps: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="give"):
        Kernel(taps)


def test_motion_and_disc() -> None:
    motion = Kernel.from_motion(21, 30)
    rows, columns = np.nonzero(motion.taps > 0.01)
    assert np.ptp(columns) == pytest.approx(21 * np.cos(np.pi / 6), abs=2)
    assert rows[columns.argmax()] < rows[columns.argmin()]  # counter-clockwise: up to the right
    disc = Kernel.from_disc(5).taps
    assert np.allclose(disc, disc.T, atol=1e-6)
    places = np.arange(len(disc)) - len(disc) // 2
    assert (disc * (places[:, None] ** 2 + places**2)).sum() == pytest.approx(5**2 / 2, rel=0.05)  # mean r^2 of a disc
    for wrong in (0, -3, 400):
        with pytest.raises(ConfigError, match="allowed"):
            Kernel.from_motion(wrong, 0)


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif"])
def test_a_kernel_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    kernel, path = Kernel(hand_shake()), tmp_path / f"k{suffix}"
    path.write_bytes(kernel.encoded(suffix))
    assert np.allclose(Kernel.read(path).taps, kernel.taps, atol=1e-4)


def test_an_unreadable_kernel_is_named(tmp_path: Path) -> None:
    (tmp_path / "k.npy").write_bytes(b"no array")
    for path in (tmp_path / "k.npy", tmp_path / "none.png"):
        with pytest.raises(ImageError, match=path.name):
            Kernel.read(path)
    with pytest.raises(ConfigError, match="npy"):
        Kernel(hand_shake()).encoded(".jpg")


def test_the_busiest_window_holds_the_edges() -> None:
    x = np.zeros((300, 400), np.float32)
    x[100:180, 230:330] = plane(80, 100)
    rows, columns = busiest(x, 160)
    assert rows.start <= 100
    assert rows.stop >= 180
    assert columns.start <= 230
    assert columns.stop >= 330
    assert busiest(x[:50, :20], 160) == (slice(0, 50), slice(0, 20))


def test_the_maps_show_the_kernel_and_a_finder_s_kernel_is_the_mean_of_all_turns() -> None:
    y, x = blurred(drawn(330), hand_shake())
    halves = [p[: len(p) // 2 * 2, : len(p) // 2 * 2].reshape(len(p) // 2, 2, -1, 2).mean((1, 3)) for p in (x, y)]
    seen: list[np.ndarray] = []

    def finder(given: np.ndarray) -> np.ndarray:
        seen.append(given)
        return np.maximum(given[:, :1], 0) / np.maximum(given[:, :1], 0).sum((2, 3), keepdims=True)

    reader = estimation.Reader(y, 0.01, finder)
    maps = reader.first_maps(x, *halves)
    assert maps.shape == (5, 51, 51)
    middle = maps[0, 18:33, 18:33]
    likeness = (middle * hand_shake()).sum() / np.linalg.norm(middle) / np.linalg.norm(hand_shake())
    assert likeness > 0.8
    assert np.allclose(maps[3], 0.2)
    assert not maps[4].any()
    found = Kernel(reader.found(maps, x))
    assert seen[0].shape == (8, 5, 51, 51)
    assert psnr(data_term.total_variation(y, found.taps, 2e-3), x) > psnr(y, x) + 4
    again = reader.next_maps(x, found.taps)
    assert (again[:2] == maps[0]).all()
    inside = slice((51 - len(found.taps)) // 2, (51 + len(found.taps)) // 2)
    assert again[4, inside, inside] == pytest.approx(found.taps / found.taps.max(), abs=1e-6)


def test_taps_at_twice_the_resolution() -> None:
    point = np.zeros((5, 5))
    point[2, 2] = 1
    taps = estimation.enlarged(point, 9)
    assert taps.shape == (9, 9)
    assert taps.sum() == pytest.approx(1)
    assert np.allclose(taps[4, 3:6] / taps[4, 4], [0.5, 1, 0.5])


def test_noise_is_measured_and_texture_is_not_needed() -> None:
    flat = np.full((3, 200, 200), 0.5, np.float32)
    noisy = flat + np.random.default_rng(0).normal(0, 0.02, flat.shape).astype(np.float32)
    assert data_term.noise_level(noisy) == pytest.approx(0.02, rel=0.05)
    assert data_term.noise_level(flat) == data_term.NOISE_LEVELS[0]
    assert data_term.noise_level(flat[:, :1, :1]) == data_term.NOISE_LEVELS[0]


def test_a_halo_is_what_leaves_the_range_around() -> None:
    x0 = drawn(96)
    assert uniformity.halo(x0 * 0.9 + 0.05 * x0.mean(), x0) < 0.2
    assert uniformity.halo(x0 + 2, x0) > 0.5
    assert uniformity.left_to_do(np.full(4, 0.1), np.full(4, 0.2)) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("gain_db", "uniform"), [(0.4, False), (0.6, True), (None, False)])
def test_the_judge_has_the_last_word(gain_db: float | None, uniform: bool) -> None:
    found = uniformity.Explanation(Kernel.from_motion(12, 30), left=0.3, halo=0.3, gain_db=gain_db)
    assert found.uniform is uniform
    assert ("12 px" in found.sentence) is uniform
    point = uniformity.Explanation(Kernel(np.ones((1, 1))), left=0.0, halo=0.0, gain_db=5.0)
    assert not point.uniform


def test_what_is_too_small_to_be_judged_gains_nothing() -> None:
    planes = [plane(60, 90)] * 4
    assert uniformity.expected_gain(*planes, lambda x: x[:, 0]) == 0
    planes = [plane(130, 90, seed) for seed in range(4)]
    assert uniformity.expected_gain(*planes, lambda x: x[:, 0]) == pytest.approx(float(planes[1][:128, :64].mean()))


def test_strokes_hold_more_and_more_firmly_to_the_one_before() -> None:
    assert golf_rules.nearness(0.0, 1, linear=False) == golf_rules.NEARNESS
    assert golf_rules.nearness(0.02, 1, linear=True) < golf_rules.nearness(0.02, 1, linear=False)
    assert golf_rules.nearness(0.02, 3, linear=True) == pytest.approx(9 * golf_rules.nearness(0.02, 1, linear=True))
    assert golf_rules.level(0.02, 3) == pytest.approx(0.02 / 3)


def test_training_makes_the_same_step() -> None:
    torch = pytest.importorskip("torch")
    from golfdeblur.learning import strokes

    blurry, sharp_plane = blurred(drawn(140), hand_shake())
    y, x = (np.stack([p, p**2, 1 - p])[None].astype(np.float32) for p in (blurry, sharp_plane))
    taps = np.pad(hand_shake(), 18)
    for linear in (False, True):
        parts = (torch.from_numpy(p) for p in (y, x, taps[None]))
        given, sharp, kernel = parts
        case = strokes.Case(given, sharp, kernel, torch.tensor([linear]), torch.tensor([0.02]))
        made = strokes.DataTerm(case).step(sharp, 2).numpy()
        name = "linear" if linear else "srgb"
        term = data_term.DataTerm(light.into(y, name), taps)
        rho = golf_rules.nearness(0.02, 2, linear=linear)
        expected = light.out_of(term.step(light.into(x, name), rho), name).clip(-0.5, 1.5)
        # What lies beyond the border is continued to other lengths.
        assert np.abs(made - expected)[..., 30:-30, 30:-30].max() < 0.03
    noisy = y + np.random.default_rng(0).normal(0, 0.02, y.shape).astype(np.float32)
    assert float(strokes.noise_levels(torch.from_numpy(noisy))[0]) == pytest.approx(data_term.noise_level(noisy), 1e-2)


def test_what_training_draws_depends_on_the_patches_alone() -> None:
    torch = pytest.importorskip("torch")
    from golfdeblur.learning import strokes

    patches = torch.rand(2, 3, 90, 90, generator=torch.Generator().manual_seed(0))
    one, other = strokes.photographed(patches), strokes.photographed(patches.clone())
    assert torch.equal(one.y, other.y)
    assert one.y.shape == (2, 3, 40, 40)
    assert torch.allclose(one.kernel.sum((1, 2)), torch.ones(2), atol=1e-4)
    assert not torch.equal(one.y, strokes.photographed(patches.flip(3)).y.flip(3))


def test_patches_get_other_colours_and_g_keeps_pure_ones() -> None:
    torch = pytest.importorskip("torch")
    from golfdeblur.learning import strokes

    generator, patch = torch.Generator().manual_seed(0), torch.rand(3, 50, 60, generator=torch.Generator())
    made = [strokes.recoloured(patch, generator) for _ in range(200)]
    assert 0.25 < np.mean([not torch.equal(x, patch) for x in made]) < 0.5
    assert all(x.shape == patch.shape and 0 <= x.min() <= x.max() <= 1 for x in made)
    for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)):
        flat = np.broadcast_to(np.array(colour, np.float32)[None, :, None, None], (1, 3, 64, 64))
        out = load().stroke.g(np.concatenate([flat, np.full((1, 1, 64, 64), 0.1, np.float32)], 1))
        assert abs(out - flat)[..., 8:-8, 8:-8].max() < 0.02, colour


def test_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from golfdeblur.engine import deconvolving

    y, _ = blurred(drawn(420), hand_shake())
    kernel = Kernel(hand_shake())
    whole = deconvolved(y, kernel=kernel)
    monkeypatch.setattr(deconvolving, "PART_PX", 256)
    cube = np.broadcast_to(y, (1, 3, *y.shape))
    deconvolver = deconvolving.Deconvolver(cube, lambda x: x, Deconvolution(kernel))
    assert abs(deconvolver(cube)[0, 0] - whole)[20:-20, 20:-20].max() < 3 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_model_deconvolves_what_it_is_told(dtype: type) -> None:
    with Image.open(PHOTO) as photo:
        sharp = np.asarray(photo.convert("RGB").crop((100, 100, 340, 320)), np.float32) / 255
    kernel = Kernel.from_motion(13, 20, light="srgb")
    y = data_term.convolve(sharp.transpose(2, 0, 1), kernel.taps).transpose(1, 2, 0).clip(0, 1)
    most = 1 if dtype is np.float32 else np.iinfo(dtype).max
    given = (y * most).round().astype(dtype) if most > 1 else y
    made = load().deblur(given, kernel=kernel)
    assert made.dtype == dtype
    error = [np.square((x.astype(float) / most - sharp)[20:-20, 20:-20]).mean() for x in (given, made)]
    assert error[1] < error[0] / 3


def test_strokes_with_a_given_kernel_settle_and_repeat_exactly() -> None:
    from golfdeblur.files.kinds import as_picture

    kernel = Kernel.from_disc(2, light="srgb")
    blurry = data_term.convolve(drawn(160), kernel.taps)[32:128, 32:128]
    picture, _ = as_picture((255 * blurry.clip(0, 1)).astype(np.uint8))
    model, asked = load(), Deconvolution(kernel)
    first = list(model.restore_each(picture, deconvolution=asked))
    assert [r.kernel is None for r in first] == [True, False, False, False]
    assert first[-1].changes[1] > first[-1].changes[2] > first[-1].changes[3]
    assert len(list(model.restore_each(picture, deconvolution=asked, steps=9))) == 1 + golf_rules.LAST_STROKE
    again = model.restore(picture, deconvolution=asked)
    assert (again.picture.colour == first[-1].picture.colour).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (20, 20)])
def test_small_pictures_are_deconvolved(size: tuple[int, int]) -> None:
    given = np.full((*size, 3), 90, np.uint8)
    assert load().deblur(given, blur="shake").shape == given.shape


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, scene, shake"):
        load().deblur(np.zeros((20, 20, 3), np.uint8), blur="fog")
    with pytest.raises(ConfigError, match="unknown"):
        Deconvolution(light="red")


def test_the_command_takes_a_motion_out_and_saves_its_kernel(tmp_path: Path) -> None:
    source, kernel = tmp_path / "a.png", tmp_path / "k.npy"
    Image.fromarray((255 * drawn(96)).astype(np.uint8)).save(source)
    made = golf("deblur", source, "--motion", "9,0", "--save-kernel", kernel, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["kernel"] == {"extent_px": pytest.approx(9, abs=1.5), "light": "linear"}
    assert np.allclose(np.load(kernel), Kernel.from_motion(9, 0).taps)
    shaken = golf("deblur", source, "--blur", "shake", "-o", tmp_path / "b.png")
    assert shaken.returncode == 0, shaken.stderr
    assert "the same everywhere, in" in shaken.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--motion", "9"], "LENGTH,ANGLE"),
        (["--motion", "9,0", "--disc", "3"], "give one of them"),
        (["--blur", "fog"], "auto, scene, shake"),
        (["--light", "red"], "auto, srgb, linear"),
        (["--blur", "scene", "--disc", "3"], "takes no kernel out"),
        (["--disc", "0"], "allowed"),
        (["--kernel", "none.npy"], "none.npy cannot be read"),
        (["--blur", "scene", "--save-kernel", "k.npy"], "leave it out"),
        (["--disc", "3", "--save-kernel", "k.jpg"], "npy"),
        (["--disc", "3", "--self-ensemble"], "leave one of them out"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path: Path, options: list[str], said: str) -> None:
    source = tmp_path / "a.png"
    Image.new("RGB", (24, 24)).save(source)
    made = golf("deblur", source, *options)
    assert made.returncode == 1
    assert said in made.stderr
    assert len(made.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def golf(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "golfdeblur", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_kernel_that_does_not_hold_everywhere_is_refused() -> None:
    y = np.random.default_rng(0).random((1, 3, 600, 1000), np.float32)
    kernel = Kernel.from_motion(9, 0, light="srgb")
    seen = uniformity.Explanation(kernel, 0.0, 0.0, gain_db=2.0)
    for least, holds in ((1.0, True), (-1.0, False)):
        gains = iter([1.0, 2.0, least, 3.0])
        networks = StrokeNetworks(judge=lambda planes, g=gains: np.full((1, 2, 2), next(g), np.float32))
        deconvolver = Deconvolver(y, lambda x: x, Deconvolution(decides=True), networks)
        deconvolver.explained = lambda x0: seen  # type: ignore[method-assign]
        assert (deconvolver(y) is not None) is holds
        assert deconvolver.explanation is not None
        assert deconvolver.explanation.elsewhere_db == least
        assert ("everywhere" in " ".join(deconvolver.explanation.doubts)) is not holds
