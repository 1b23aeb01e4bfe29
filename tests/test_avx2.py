"""What a processor with AVX2 alone does, on one that has more: oneDNN and torch can be told to leave the rest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import golfdeblur

from .conftest import GUARD_S
from .test_offline import RECIPE

AVX2_ALONE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
CODE = """
import sys, torch, golfdeblur
from golfdeblur.cli.app import app
assert torch.backends.cpu.get_cpu_capability() == "AVX2"
app(sys.argv[2:], standalone_mode=False)
golfdeblur.load(sys.argv[1], runtime="torch").deblur("photo.png", output="sharp.png")
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="no processor of that family"
)
def test_a_step_and_a_photo_with_avx2_alone(tmp_path: Path, photo: np.ndarray, tiny_model: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    for name in ("a", "b"):
        Image.fromarray(photo).resize((390, 360)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "recipe.toml").write_text(RECIPE.replace('precision = "float32"', 'precision = "auto"'))
    train = ["train", "recipe.toml", "--data", "photos=photos", "--out", "run"]
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(tiny_model), *train],
        cwd=tmp_path, env={**os.environ, **AVX2_ALONE}, capture_output=True, text=True, timeout=GUARD_S, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Precision: float32" in result.stdout  # bf16 is emulated
    assert (tmp_path / "run" / "F.safetensors").exists()
    here = golfdeblur.load(tiny_model).deblur(photo)
    there = np.asarray(Image.open(tmp_path / "sharp.png"))
    assert np.abs(here.astype(int) - there).max() <= 1
