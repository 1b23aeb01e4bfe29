"""The examples of docstrings and pages run as they are printed."""

import doctest
import importlib
from pathlib import Path

import pytest

import golfdeblur

ROOT = Path(__file__).parent.parent
PACKAGE = Path(golfdeblur.__file__).parent
WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PAGES = [path for path in sorted(ROOT.glob("docs/**/*.md")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_examples_of_docstrings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_of_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert not doctest.testfile(str(path), module_relative=False, encoding="utf-8").failed


def test_what_people_call_has_an_example() -> None:
    public = [golfdeblur.load, *(getattr(golfdeblur.Model, name) for name in ("deblur", "strokes", "restore"))]
    assert all(">>> " in (each.__doc__ or "") for each in public)
