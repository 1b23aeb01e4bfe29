"""What decides how a training run turns out: one frozen configuration, read from a TOML recipe.

The recipes of the paper follow section 6.1 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import golfdeblur
from golfdeblur.errors import ConfigError
from golfdeblur.learning import losses, networks
from golfdeblur.learning.blur import BlurConfig
from golfdeblur.learning.mixture import MixtureConfig
from golfdeblur.learning.precision import PRECISIONS
from golfdeblur.learning.sources import SourceConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


RECIPES = (Path(golfdeblur.__file__).parent / "recipes", Path(golfdeblur.__file__).parents[2] / "recipes")
"""Where the package has its recipes, and where a working tree has them."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a run turns out, apart from the data's paths."""

    stage: str = "f"
    """`f` trains the propagator, `g` the corrector behind a frozen propagator."""
    model: str = "fast"
    steps: int = 10_000
    optimiser: str = "adamw"
    """`adamw`, or `muon` for the kernels of hidden convolutions and AdamW for all else."""
    lr: float = 1e-3
    lr_end: float = 1e-6
    schedule: str = "cosine"
    """`cosine` or `exponential`, from lr to lr_end, after `warmup_steps` of linear rise."""
    warmup_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    clip_norm: float = 0.05
    """Largest norm of the gradient; 0 does not clip. Usual norms are 0.02, and rare spikes ruin a run (research/)."""
    ema: float = 0.999
    """Decay of the averaged weights, which are validated and exported; 0 uses the weights themselves."""
    content: str = "charbonnier"
    perceptual: str = "none"
    """`vgg11-bn` (the paper's, its file by --features) or `vgg19` (up to conv3_1)."""
    balance: float = 0.0
    """Weight of the perceptual term, the paper's lambda. 0 measures it, so that both terms start out of one size."""
    iterates: int = 5
    """N of eq. 4, for stage g."""
    precision: str = "auto"
    """`bf16`, `float32`, or `auto`: what this machine computes faster in (`precision.settle`)."""
    compiled: bool = False
    """torch.compile: for long runs on a GPU. On two CPU cores it gains 4 % after a slow start, and needs a compiler."""
    seed: int = 0
    log_every: int = 50
    validate_every: int = 500
    checkpoint_minutes: float = 3.0
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    blur: BlurConfig = field(default_factory=BlurConfig)
    sources: tuple[SourceConfig, ...] = ()

    def __post_init__(self) -> None:
        _one_of("stage", self.stage, ("f", "g"))
        _one_of("model", self.model, networks.PRESETS)
        _one_of("optimiser", self.optimiser, ("adamw", "muon"))
        _one_of("schedule", self.schedule, ("cosine", "exponential"))
        _one_of("content", self.content, losses.CONTENT)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("perceptual", self.perceptual, ("none", "vgg11-bn", "vgg19"))
        for name in ("steps", "iterates", "log_every", "validate_every"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("warmup_steps", "weight_decay", "clip_norm", "balance", "checkpoint_minutes"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must not be negative.")
        _require(0 < self.lr_end <= self.lr, f"lr_end {self.lr_end} must be above 0 and at most lr {self.lr}.")
        for name, value in (("ema", self.ema), *(("betas", beta) for beta in self.betas)):
            _require(0 <= value < 1, f"{name} is {value}; it must lie in [0, 1).")


def learning_rate(config: Recipe, step: int) -> float:
    """Return the learning rate of `step`, counted from 0."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    progress = min(1.0, step / config.steps)
    if config.schedule == "exponential":
        return rise * config.lr * (config.lr_end / config.lr) ** progress
    return rise * (config.lr_end + (config.lr - config.lr_end) * (1 + math.cos(math.pi * progress)) / 2)


def find_recipe(name: Path) -> Path:
    """Return a TOML file as it is given, or the one of the package by its name. Raises ConfigError if there is none."""
    if name.is_file():
        return name
    known = {path.stem: path for folder in RECIPES for path in sorted(folder.glob("*.toml"))}
    if str(name) not in known:
        raise ConfigError(f"Recipe '{name}' is unknown; use one of {', '.join(known)}, or the path of a TOML file.")
    return known[str(name)]


def read_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a Recipe from a TOML file; what it leaves out keeps its default.

    `overrides` are "key=value" or "table.key=value" and replace the file's. Raises ConfigError for a missing or
    malformed file, a value of the wrong type, and a key that is unknown, naming the nearest known one.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The recipe {path} cannot be read ({error.strerror}); give a TOML file.") from error
    except ValueError as error:
        raise ConfigError(f"The recipe {path} is not valid TOML ({error}).") from error
    for override in overrides or []:
        _override(content, override)
    for key, section in (("mixture", MixtureConfig), ("blur", BlurConfig)):
        if key in content:
            content[key] = _from_table(section, content[key], f"[{key}] of {path}")
    if isinstance(content.get("sources"), list):
        content["sources"] = tuple(_from_table(SourceConfig, s, f"[[sources]] of {path}") for s in content["sources"])
    return _from_table(Recipe, content, str(path))


def _override(content: dict[str, Any], override: str) -> None:
    """Put one "table.key=value" into the recipe's content; the value is TOML, or a bare word."""
    key, sign, value = override.partition("=")
    *tables, name = key.strip().split(".")
    if not sign or not name:
        raise ConfigError(f"'{override}' is not key=value; write for example lr=3e-4 or mixture.batch=4.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        parsed = value
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise ConfigError(f"'{table}' in '{override}' is no table; --set changes single values and tables only.")
    content[name] = parsed


def _from_table(section: Any, table: Any, where: str) -> Any:
    """Make the dataclass `section` of a TOML table."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is {table!r}; it must be a table of keys and values.")
    fields = {f.name: f for f in dataclasses.fields(section)}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1, 0)
            raise ConfigError(f"'{key}' in {where} is unknown; the nearest known key is '{near[0]}'.")
        _check_type(key, value, str(fields[key].type), where)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return section(**values)
    except TypeError as error:
        raise ConfigError(f"{where} has a value of the wrong type or lacks one ({error}).") from error


def _check_type(key: str, value: Any, annotation: str, where: str) -> None:
    """Raise ConfigError if `value` is not of the type that a field's `annotation` names, or no finite number."""
    allowed = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}.get(annotation)
    if annotation.startswith("tuple["):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{key}' in {where} is {value!r}; it must be a list such as [1, 2].")
        kind, *others = annotation.removeprefix("tuple[").removesuffix("]").split(", ")
        if others != ["..."] and len(value) != 1 + len(others):
            raise ConfigError(f"'{key}' in {where} has {len(value)} values; it must have {1 + len(others)}.")
        for each in value:
            _check_type(key, each, kind, where)
    elif allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        raise ConfigError(f"'{key}' in {where} is {value!r}; it must be of type {annotation}.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"'{key}' in {where} is {value}; it must be finite.")


def _one_of(name: str, value: str, allowed: Any) -> None:
    _require(value in allowed, f"{name} is '{value}'; use one of {', '.join(allowed)}.")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)
