"""Imports go one way, and only the command prints or exits (docs/decisions.md)."""

import ast
from pathlib import Path

import pytest

import golfdeblur

ROOT = Path(golfdeblur.__file__).parent
LAYERS = {
    "errors": 0, "offline": 0, "golf": 1, "metrics": 1, "weights": 1, "runtimes": 1, "engine.bands": 1,
    "files": 2,
    "engine": 3,
    "model": 4, "evaluate": 4, "learning": 4, "sheet": 4,
    "sharpness": 5, "bench": 5, "album": 5, "video": 5, "page": 5,
    "experiments": 6,
    "cli": 7,
}  # fmt: skip
LEARNING_MAY_USE = {"errors", "offline", "files", "metrics", "engine", "runtimes", "weights", "learning"}
READS_TORCH_WEIGHTS = {"runtimes"}
"""The runtime `torch` builds the networks of `learning`, when it is asked for."""
FILES = sorted(p for p in ROOT.rglob("*.py") if p.name not in {"__init__.py", "__main__.py"})


def layer_name(path: Path) -> str:
    return layer_of(path.relative_to(ROOT).with_suffix("").parts)


def layer_of(parts: tuple[str, ...]) -> str:
    """Return the layer of golfdeblur.A.B: A.B where that has one of its own, else A."""
    return ".".join(parts[:2]) if ".".join(parts[:2]) in LAYERS else parts[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "golfdeblur":
            parts = tuple(node.module.split(".")[1:])
            found |= {layer_of((*parts, alias.name)) for alias in node.names}
    return found - {"__version__", "DEFAULT_MODEL"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = layer_name(path)
    for other in imported(path) - {own}:
        if other == "learning" and own in READS_TORCH_WEIGHTS:
            continue
        assert LAYERS[other] < LAYERS[own] or (own == "cli"), f"{own} imports {other}"
        if own == "learning":
            assert other in LEARNING_MAY_USE, f"learning imports {other}"
        if other == "learning":
            assert own in {"cli", "experiments"}


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
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 400, path
