"""Do the embedded weights make real photographs better? The examples by default, the data sets in the slow suite."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import golfdeblur
from golfdeblur import evaluate, metrics
from golfdeblur.files import image

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("GOLFDEBLUR_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "gopro_test").is_dir(), reason="set GOLFDEBLUR_DATA to the data folder")


@pytest.fixture(scope="module")
def model() -> golfdeblur.Model:
    return golfdeblur.load()


def gain(model: golfdeblur.Model, blurry: np.ndarray, sharp: np.ndarray, steps: int) -> float:
    return metrics.psnr(model.deblur(blurry, steps=steps), sharp) - metrics.psnr(blurry, sharp)


def test_the_example_gets_better_and_corrections_do_no_harm(model: golfdeblur.Model) -> None:
    blurry, sharp = (image.read_rgb8(ROOT / "examples" / name) for name in ("walkway.jpg", "walkway-sharp.jpg"))
    assert gain(model, blurry, sharp, steps=3) > 0.3
    assert gain(model, blurry, sharp, steps=3) >= gain(model, blurry, sharp, steps=0) - 0.01


def test_a_sharp_photo_stays_sharp(model: golfdeblur.Model) -> None:
    sharp = image.read_rgb8(ROOT / "examples" / "walkway-sharp.jpg")
    assert metrics.psnr(model.deblur(sharp), sharp) >= 36


def test_no_colour_shift_and_no_grid(model: golfdeblur.Model) -> None:
    blurry, sharp = (image.read_rgb8(ROOT / "examples" / name) for name in ("walkway.jpg", "walkway-sharp.jpg"))
    change = model.deblur(blurry).astype(float) - blurry
    shift = change.mean((0, 1))
    assert np.ptp(shift) < 0.2
    # Blur in linear light, as here, brightens a photo: by 3 grey levels. Only what takes it back may be taken.
    brightened = (blurry.astype(float) - sharp).mean((0, 1))
    assert (np.abs(brightened + shift) < np.abs(brightened)).all()
    assert np.abs((model.deblur(sharp).astype(float) - sharp).mean((0, 1))).max() < 0.5
    xs = [x.astype(float).mean() for x in model.strokes(blurry, steps=6)]
    assert np.ptp(xs) < 0.3  # the strokes do not drift
    height, width = (n // 8 * 8 for n in change.shape[:2])
    cells = change[:height, :width].reshape(height // 8, 8, width // 8, 8, 3).mean((0, 2, 4))
    assert cells.std() < 0.1  # of 255: no position within the 8x8 cells is favoured


def test_flat_areas_stay_flat(model: golfdeblur.Model) -> None:
    for level in (0, 60, 128, 255):
        flat = np.full((96, 120, 3), level, np.uint8)
        assert np.abs(model.deblur(flat).astype(int) - flat).max() <= 3


def mean_psnr(model: golfdeblur.Model, data: str, steps: int) -> tuple[float, float]:
    """Return the mean PSNR of the result and of the input."""
    rows = list(evaluate.evaluate(DATA / data, lambda y: model.deblur(y, steps=steps)))
    return evaluate.mean([r.output for r in rows]).psnr, evaluate.mean([r.blurry for r in rows]).psnr


@pytest.mark.slow
@needs_data
def test_gopro_gains_what_is_promised(model: golfdeblur.Model) -> None:
    output, before = mean_psnr(model, "gopro_test", 3)
    assert output - before >= 2.6


@pytest.mark.slow
@needs_data
def test_corrections_do_no_harm_where_the_model_was_chosen(model: golfdeblur.Model) -> None:
    with_g, alone = (mean_psnr(model, "reds_val", steps)[0] for steps in (3, 0))
    assert with_g > alone - 0.01


@pytest.mark.slow
@needs_data
def test_sharp_photographs_come_back_at_38_db(model: golfdeblur.Model) -> None:
    sharp = [image.read_rgb8(p) for p in image.images_in(DATA / "photos")[::13]]
    assert np.mean([metrics.psnr(model.deblur(x), x) for x in sharp]) >= 38


@pytest.mark.slow
@needs_data
def test_photographs_of_real_camera_shake_gain(model: golfdeblur.Model) -> None:
    gains = []
    for path in sorted((DATA / "levin09").glob("im*_img.png")):
        blurry, sharp = map(image.read_rgb8, (path, DATA / "levin09" / "gt" / f"{path.name.split('_')[0]}.png"))
        output, before = (metrics.psnr(*metrics.at_best_shift(x, sharp, 5)) for x in (model.deblur(blurry), blurry))
        gains.append(output - before)
    assert len(gains) == 32
    assert np.mean(gains) >= 2.2


@pytest.mark.slow
@needs_data
def test_8_bits_lose_little(model: golfdeblur.Model) -> None:
    eight = golfdeblur.load(runtime="onnxruntime-int8")
    means = []
    for method in (model, eight):
        rows = list(evaluate.evaluate(DATA / "reds_val", method))
        means.append(evaluate.mean([r.output for r in rows]).psnr)
    assert means[1] >= means[0] - 0.05
    sharp = [image.read_rgb8(p) for p in image.images_in(DATA / "photos")[::13]]
    assert np.mean([metrics.psnr(eight.deblur(x), x) for x in sharp]) >= 40


@pytest.mark.slow
@needs_data
def test_a_720p_frame_is_quick_and_small(tmp_path: Path) -> None:
    path = image.images_in(DATA / "gopro_test" / "blur")[0]
    command = [sys.executable, "-m", "golfdeblur", "deblur", str(path), "-o", str(tmp_path / "out.png")]
    seconds, peak_mib = run_alone(command)
    assert seconds <= 3  # 1.5 s on two free cores
    assert peak_mib <= 1024


def run_alone(command: list[str]) -> tuple[float, float]:
    """Return the seconds and the peak memory in MiB of a command, with no other child before it."""
    code = (
        "import json, resource, subprocess, sys, time; started = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); seconds = time.perf_counter() - started;"
        "print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    seconds, peak_mib = json.loads(done.stdout)
    return seconds, peak_mib


def large_photo(path: Path, width: int, height: int) -> None:
    small = image.read_rgb8(ROOT / "examples" / "walkway.jpg")
    tiles = np.tile(small, (-(-height // small.shape[0]), -(-width // small.shape[1]), 1))
    Image.fromarray(tiles[:height, :width]).save(path, quality=92)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "suffix", "budget"),
    [
        ((6000, 4000), ".jpg", "1G"),
        ((6000, 4000), ".jpg", "1400M"),
        ((6000, 4000), ".jpg", "1600M"),
        ((12_000, 8334), ".tif", "2G"),
    ],
    ids=["24 MP, low strips", "24 MP, high strips", "24 MP, whole", "100 MP"],
)
def test_a_large_photo_keeps_to_its_budget(size: tuple[int, int], suffix: str, budget: str, tmp_path: Path) -> None:
    path, out = tmp_path / f"large{suffix}", tmp_path / f"out{suffix}"
    large_photo(path, *size)
    command = [sys.executable, "-m", "golfdeblur", "deblur", str(path), "-o", str(out), "--max-memory", budget]
    seconds, peak_mib = run_alone(command)
    print(f"{size[0]} x {size[1]}, {budget}: {peak_mib:.0f} MiB, {seconds:.0f} s")  # for docs/performance.md: pytest -s
    assert peak_mib * 2**20 <= budget.parse_size(budget)
    with Image.open(out) as made:
        assert made.size == size
