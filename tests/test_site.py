"""The site: it builds without a warning, nothing of it comes from elsewhere, and a wrong link ends the build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
pytest.importorskip("material")
pytest.importorskip("mkdocstrings")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "research", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    for name in ("mkdocs.yml", "MODEL_CARD.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(copy: Path) -> None:
    result = build(copy)
    assert (result.returncode, result.stderr) == (0, "")
    site = copy / "build" / "site"
    for page in ("index", "library", "paper-map", "MODEL_CARD", "adding/network", "research/index"):
        assert (site / f"{page}.html").exists()
    assert "at_best_shift" in (site / "library.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[lost](nowhere.md)", "nowhere.md"),
        ("[lost](gallery.md#nowhere)", "nowhere"),
        ('<a href="nowhere.html">lost</a>', "nowhere.html leads nowhere"),
        ('<img src="https://example.org/a.png">', "is loaded from elsewhere"),
    ],
)
def test_what_is_wrong_ends_the_build(copy: Path, line: str, said: str) -> None:
    page = copy / "docs" / "index.md"
    before = page.read_text(encoding="utf-8")
    page.write_text(f"{before}\n{line}\n")
    try:
        result = build(copy)
    finally:
        page.write_text(before)
    assert result.returncode != 0
    assert said in result.stdout + result.stderr
