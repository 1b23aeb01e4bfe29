import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from golfdeblur import bench
from golfdeblur.learning import networks
from golfdeblur.learning.speed import training_speeds

from .test_cli import fails, golf, here
from .test_train import TINY


def test_every_way_of_training_is_timed() -> None:
    for stage in ("f", "g"):
        speeds = list(training_speeds(dataclasses.replace(TINY, stage=stage), seconds=0.05, compiled=False))
        assert {(s.precision, s.layout) for s in speeds} == {
            (precision, layout) for precision in ("float32", "bf16") for layout in ("contiguous", "channels last")
        }
        assert all(s.step_mpx_per_s > 0 and s.share > 0 for s in speeds)


def test_the_work_of_the_papers_networks_is_the_audited_one() -> None:
    paper = networks.PRESETS["paper"]
    f, g = (networks.macs_per_px(networks.build(spec)) * 256**2 / 1e9 for spec in (paper.f, paper.g))
    assert (f, g, f + 3 * g) == pytest.approx((30.5, 7.85, 54.0), abs=0.06)


def test_the_command_measures_writes_and_draws(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ["bench", "--model", tiny_model, "--runtime", "onnxruntime", "--size", "64x48", "--size", "128x96"]
    result = golf(*arguments, "--repeats", 2, "--json", tmp_path / "b.json", "--plot", tmp_path / "b.png")
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert [(row["width"], row["height"]) for row in rows] == [(64, 48), (128, 96)]
    for row in rows:
        assert 0 < row["seconds"]["min"] <= row["seconds"]["median"] <= row["seconds"]["max"]
        assert row["peak_mib"] > 20
        assert row["gflops"] == pytest.approx(2 * row["gmac"] / row["seconds"]["median"])
        assert 0 < row["peak_share"] < 1
    assert rows[1]["gmac"] == pytest.approx(4 * rows[0]["gmac"])
    about, header, *lines = result.stdout.splitlines()
    assert re.fullmatch(r".+, \d+ cores.*; rows to measure: 2", about)
    assert len(lines) == 2
    assert {line.index("onnxruntime") for line in lines} == {header.index("runtime")}
    assert Image.open(tmp_path / "b.png").width > 500
    fails(here(*arguments, "--json", tmp_path / "b.json"), "exists already")
    fails(here("bench", "--size", "12"), "1280x720")
    fails(here("bench", "--plot", tmp_path / "b.txt"), "b.txt", ".svg")
    fails(here("bench", "--runtime", "nonsense", "--size", "64x64"), "nonsense", "onnxruntime")


def test_the_peak_is_measured_after_the_runs(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order, times = [], bench.times
    monkeypatch.setattr(bench, "times", lambda *a: (order.append("runs"), times(*a))[1])
    monkeypatch.setattr(bench, "matrix_product_gflops", lambda: order.append("peak") or 1.0)
    bench.measure(bench.Case(str(tiny_model), "onnxruntime", (64, 48), repeats=1, seconds=0.0))
    assert order == ["runs", "peak"]


def test_another_command_is_timed_in_turn(tiny_model: Path, jpeg: Path) -> None:
    copy = f"{sys.executable} -c \"import shutil; shutil.copy(r'{{input}}', r'{{output}}'); print({{1: 2}})\""
    found = bench.compare(copy, jpeg, model=str(tiny_model), repeats=1)
    assert found["times_faster"] == pytest.approx(
        found["seconds"]["other"]["median"] / found["seconds"]["golf"]["median"]
    )
    fails(here("bench", "--against", "true", "--photo", jpeg), "{input}")
    fails(here("bench", "--against", "cp '{input} {output}", "--photo", jpeg), "check its quotes")
    fails(here("bench", "--against", "false {input} {output}", "--photo", jpeg, "--model", tiny_model), "false")
    fails(here("bench", "--against", "x {input} {output}"), "--photo")
