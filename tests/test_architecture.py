"""Imports go one way, and only the command prints or exits (docs/decisions.md)."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import golfdeblur

ROOT = Path(golfdeblur.__file__).parent
LAYERS = {
    "errors": 0, "offline": 0, "bands": 0,
    "machine": 1, "golf": 1, "metrics": 1, "weights": 1,
    "deconvolution": 2, "runtimes": 2, "files": 2,
    "engine": 3,
    "model": 5, "evaluate": 5, "learning": 5, "sheet": 5, "footage": 5, "tracks": 5, "coding": 5,
    "sharpness": 6, "bench": 6, "album": 6, "video": 6, "page": 6,
    "experiments": 7, "bridges": 7,
    "cli": 8,
}  # fmt: skip
LEARNING_MAY_USE = {
    "errors",
    "offline",
    "machine",
    "golf",
    "deconvolution",
    "bands",
    "files",
    "metrics",
    "engine",
    "runtimes",
    "weights",
    "learning",
}
READS_TORCH_WEIGHTS = {"runtimes"}
"""The runtime `torch` builds the networks of `learning`, when it is asked for."""
FILES = sorted(p for p in ROOT.rglob("*.py") if p.name not in {"__init__.py", "__main__.py"})


REPOSITORY = Path(__file__).parent.parent
SCRIPTS = sorted(p for folder in ("docs", "research", "examples") for p in (REPOSITORY / folder).rglob("*.py"))


def layer_name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def modules(source: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of all that a file imports from golfdeblur, in every way of writing it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "golfdeblur":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "golfdeblur")


def imported(source: str) -> set[str]:
    """Return the layers that a file imports."""
    paths = [(*module.split(".")[1:], *([name] if name else [])) for module, name in modules(source)]
    return {path[0] for path in paths if path} - {"__version__", "DEFAULT_MODEL"}


def test_every_way_of_importing_is_seen() -> None:
    assert imported("import golfdeblur.model as m") == {"model"}
    assert imported("def f():\n    import os, golfdeblur.engine.tiles") == {"engine"}
    assert imported("from golfdeblur import golf, page") == {"golf", "page"}
    assert imported("from golfdeblur.engine import scales, tiles") == {"engine"}
    assert imported("import golfdeblur\nfrom golfdeblur import __version__") == {"__version__"} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = layer_name(path)
    for other in imported(path.read_text()) - {own}:
        if other == "learning" and own in READS_TORCH_WEIGHTS:
            continue
        assert LAYERS[other] < LAYERS[own] or (own == "cli"), f"{own} imports {other}"
        if own == "learning":
            assert other in LEARNING_MAY_USE, f"learning imports {other}"
        if other == "learning":
            assert own in {"cli", "experiments", "bridges"}


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name != "cli"], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_command_prints_or_exits(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"print", "exit", "sys.exit", "input"}, f"{path}:{node.lineno} calls {name}"


def test_no_torchvision_and_no_f_from_torch() -> None:
    for path in FILES:
        assert "functional as F" not in path.read_text()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert "torchvision" not in ast.unparse(node)


def test_files_are_short() -> None:
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 300, path


def test_every_folder_says_what_belongs_there() -> None:
    for folder in {path.parent for path in ROOT.rglob("*.py")}:
        says = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "nothing"
        assert says.splitlines()[0].endswith("."), folder


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_what_scripts_import_is_there(path: Path) -> None:
    pytest.importorskip("torch")  # without it hardly one can be imported
    for module, name in modules(path.read_text()):
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


def test_nothing_imports_a_script() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not {"research", "docs", "tests"} & set(ast.unparse(node).replace(".", " ").split()), path
