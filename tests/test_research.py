"""The scripts of research/ that figures come from."""

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from golfdeblur.learning import uniform

RESEARCH = Path(__file__).parents[1] / "research"
pytestmark = pytest.mark.skipif(not RESEARCH.is_dir(), reason="research/ is not part of the source distribution")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def load(name: str, folder: str = "deconvolution") -> ModuleType:
        monkeypatch.syspath_prepend(str(RESEARCH / folder))
        made.append(name)
        return importlib.import_module(name)

    yield load
    for name in (*made, "pages"):
        sys.modules.pop(name, None)


def test_edit_distance_is_the_textbooks(script) -> None:
    ocr = script("ocr")
    for a, b, distance in (("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("abcd", "acbd", 2)):
        assert ocr.edit_distance(a, b) == ocr.edit_distance(b, a) == distance
    assert ocr.share_right("It  was\nthe best", "It was the best") == 1
    assert ocr.share_right("quite other letters, and many more of them", "short") == 0
    assert ocr.share_right("", "short") == 0
    assert ocr.share_right("shirt", "short") == pytest.approx(0.8)


def test_ocr_is_measured_for_every_method(script, tmp_path: Path) -> None:
    for part, grey in (("sharp", 200), ("blur", 100)):
        (tmp_path / part).mkdir()
        Image.new("RGB", (8, 8), (grey,) * 3).save(tmp_path / part / "one.png")
    (tmp_path / "meta.json").write_text(json.dumps({"one": {"text": "200"}}))
    engine = lambda picture: str(picture[0, 0, 0])  # noqa: E731
    shares = script("ocr").measure(tmp_path, {"twice": lambda y: 2 * y}, engine)
    assert shares == {"sharp": {"one": 1}, "input": {"one": pytest.approx(2 / 3)}, "twice": {"one": 1}}


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs Debian's tesseract-ocr")
def test_tesseract_reads_a_page(script) -> None:
    page = script("pages").render("val", 0, (640, 200), edge_px=0)
    ocr = script("ocr")
    assert ocr.share_right(ocr.tesseract(page.pixels), page.text) > 0.9


def test_pages_are_always_the_same_and_signs_every_fourth(script) -> None:
    pages = script("pages")
    first, again = (pages.render("val", 3, (320, 240), edge_px=10) for _ in range(2))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.pixels.shape == (260, 340, 3)
    assert first.is_sign
    page, other = (pages.render(split, 0, (320, 240), edge_px=10) for split in ("val", "test"))
    assert not page.is_sign
    assert page.text != other.text
    # The edge is bare, and something is written within.
    assert len(np.unique(page.pixels[:10].reshape(-1, 3), axis=0)) == 1
    assert page.pixels[10:-10].std() > 10


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for folder in ("photos", "urban"):
        (tmp_path / folder).mkdir()
        for index in range(27):
            pixels = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((160, 120)).save(tmp_path / folder / f"{index:02}.png")
    return tmp_path


def test_the_splits_share_no_photograph_and_none_that_is_trained_on(script, photos: Path) -> None:
    sets = script("sets")
    names = {split: [photo.name for photo in sets.held_out(photos, split)] for split in ("val", "test")}
    assert names == {"val": ["00.png", "26.png"] * 2, "test": ["13.png"] * 2}


def test_shaken_pictures_are_their_kernels_work_and_always_the_same(
    script, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = script("sets")
    for name, value in (("COUNT", 24), ("WIDE", 80), ("TALL", 60), ("EXTENT_PX", (4.0, 12.0))):
        monkeypatch.setattr(sets, name, value)
    first, again = (list(sets.shaken(photos, "val")) for _ in range(2))
    assert [e.name for e in first] == [e.name for e in again]
    assert all(
        torch.equal(a.blurry, b.blurry) and torch.equal(a.sharp, b.sharp) for a, b in zip(first, again, strict=True)
    )
    assert {e.facts["light"] for e in first} == {"srgb", "linear"}
    assert {e.facts["generator"] for e in first} == {"waves", "particle", "hook"}
    for example in first:
        assert example.kernel is not None
        edge = len(example.kernel) // 2
        inner = (slice(None), slice(None), slice(edge, -edge), slice(edge, -edge))
        expected, seen = uniform.convolve(example.sharp, example.kernel), example.blurry[inner]
        if example.facts["light"] == "srgb":
            assert float((seen - expected).std()) < 1.2 * example.facts["noise"]


def test_a_set_on_disk_is_what_golf_evaluate_reads(script, tmp_path: Path) -> None:
    sets = script("sets")
    x = torch.rand(1, 3, 12, 16)
    example = sets.Example("one", x, x, torch.ones(1, 1), {"light": "srgb"})
    assert sets.write(iter([example]), tmp_path) == 1
    from golfdeblur import evaluate

    [row] = evaluate.evaluate(tmp_path, lambda picture: picture)
    assert row.name == "one.png"
    assert np.load(tmp_path / "kernel" / "one.npy").shape == (1, 1)
    assert json.loads((tmp_path / "meta.json").read_text()) == {"one": {"light": "srgb"}}


def noisy_pairs(noise: ModuleType) -> list[tuple[torch.Tensor, torch.Tensor]]:
    sharp = 0.3 + 0.4 * (torch.arange(64) // 16 % 2).float().expand(1, 3, 48, 64)
    return [(torch.nn.functional.avg_pool2d(sharp, (1, 5), 1, (0, 2), count_include_pad=False), sharp)]


def test_noise_out_for_noise_in_is_a_methods_own_gain(script) -> None:
    noise = script("noise", "")
    methods = lambda y: {"nothing": y, "half": 0.5 + 0.5 * (y - 0.5)}  # noqa: E731
    rows = {row.fault: row for row in noise.measure(noisy_pairs(noise), methods, "stripes")}
    assert list(rows) == list(noise.FAULTS)
    for fault, row in rows.items():
        assert row.gain_db["nothing"] == 0
        if fault in ("clean", "clipped lights"):
            assert row.noise == {"nothing": None, "half": None}
        else:
            assert row.noise["nothing"] == pytest.approx(1, abs=0.01)
            assert row.noise["half"] == pytest.approx(0.5, abs=0.01)
    for weak, strong in (("white 0.01", "white 0.04"), ("ISO 400", "ISO 6400"), ("JPEG 90", "JPEG 50")):
        assert rows[weak].input_db > rows[strong].input_db
    assert noise.table(list(rows.values())).count("\n") == 2 + len(rows)


def test_faults_are_as_strong_as_they_say(script) -> None:
    noise = script("noise", "")
    grey = torch.full((1, 3, 128, 128), 0.5)
    noisy, same = noise.white((grey, grey), 0.02, torch.Generator().manual_seed(0))
    assert same is grey
    assert float((noisy - grey).std()) == pytest.approx(0.02, rel=0.02)
    assert noise.noise_sigma(noisy[0].permute(1, 2, 0).numpy()) == pytest.approx(0.02, rel=0.05)
    ramp = torch.linspace(0, 1, 1000).expand(1, 3, 10, 1000)
    blurry, sharp = noise.clipped((0.9 * ramp, ramp), 0.03, torch.Generator())
    assert float((sharp > 0.9999).float().mean()) == pytest.approx(0.03, abs=0.002)
    assert 0.9 < float(blurry.max()) < 0.95


def test_the_rule_for_noise_asks_for_every_demand(script, tmp_path: Path) -> None:
    rule = script("noise_rule", "")

    def lay(psnr_db: float, gain: float, noise: float) -> list[bool]:
        for run, value in (("before", 27.0), ("f", psnr_db)):
            (tmp_path / run).mkdir(exist_ok=True)
            line = json.dumps({"step": 1, "psnr_db": {"reds_val": [23.0, value]}})
            (tmp_path / run / "log.jsonl").write_text('{"step": 1, "loss": 1.0}\n' + line + "\n")
        for folder, gained in (("noise-before", 1.0), ("noise-after", 1.0 + gain)):
            faults = [{"fault": f"white {s}", "gain_db": {"F": gained}, "noise": {"F": noise}} for s in (0.02, 0.04)]
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "noise.json").write_text(json.dumps(faults))
        return [met for met, _ in rule.judge(tmp_path)]

    assert lay(26.96, 1.01, 0.89) == [True] * 4
    assert lay(26.94, 1.01, 0.89) == [False, True, True, True]
    assert lay(27.1, 0.6, 0.95) == [True, True, False, False]
    assert lay(27.1, 0.4, 0.5) == [True, False, False, True]


def test_the_table_of_tools_names_the_worst_photo(script, tmp_path: Path) -> None:
    which_tool = script("which_tool", "scripts")
    images = [
        {"name": name, "psnr": psnr, "input": {"psnr": 20.0}, "seconds": 0.5}
        for name, psnr in (("a.png", 25.0), ("b.png", 18.5))
    ]
    result = {"model": "tv", "data": "set", "images": images, "mean": {"psnr": 21.75}, "input_mean": {"psnr": 20.0}}
    made = which_tool.table([result])
    assert "**21.75** (20.00)" in made
    assert "-1.50, b" in made
    page = tmp_path / "page.md"
    page.write_text(f"before\n{which_tool.BEGIN}\nold\n{which_tool.END}\nafter\n")
    which_tool.put(page, made)
    assert page.read_text() == f"before\n{which_tool.BEGIN}\n{made}{which_tool.END}\nafter\n"
    page.write_text("no lines")
    with pytest.raises(SystemExit, match="lacks the lines"):
        which_tool.put(page, made)


def test_the_page_of_experiments_is_renewed_row_by_row(script) -> None:
    table = script("experiments_table", "../docs")
    made = {"model": "fast", "sha256": {"F": "ab" * 32}, "version": "1", "data": None, "quick": False}
    result = {"name": "prior", "held": "in part", "parts": {"one": True, "two": False}, "verdict": "seen", "made": made}
    page = f"top\n{table.BEGIN}| `balance` | old |\n| `prior` | old |\n{table.END}\nend\n"
    new = table.renewed(page, [result])
    assert "| `balance` | old |" in new
    assert "| `prior` | **in part**; not: two |" in new
    assert new.startswith("top\n")
    assert new.endswith("\nend\n")
    with pytest.raises(ValueError, match="smoke run"):
        table.renewed(page, [result | {"made": made | {"quick": True}}])
