"""Train F (eq. 6) or G (eq. 4): one loop, one frozen configuration, resumable.

F minimises L(F(y), sharp). G minimises (1/N) sum_i L(G^(i)(x_0), sharp) over its own iterates from x_0 = F(y), with
F frozen. Source: section 3 and 5.2 of "A Deep Optimization Approach for Image Deconvolution".
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import json
import math
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from golfdeblur.errors import ConfigError, GolfError
from golfdeblur.learning import blur, checkpoint, data, golf, losses, networks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class SourceConfig:
    """One source of pairs: its name (given a path by `--data NAME=PATH`), kind and weight."""

    name: str
    kind: str
    weight: float = 1.0
    blurry: str = "blur"
    """The folder of blurry images in a pair folder: GoPro has `blur` (sRGB average) and `blur_gamma` (linear)."""

    def __post_init__(self) -> None:
        kinds = ("photos", "pairs", "sharp-of-pairs", "video")
        if self.kind not in kinds:
            raise ConfigError(f"Source '{self.name}' is of kind '{self.kind}'; use one of {', '.join(kinds)}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a run turns out, apart from the data's paths."""

    stage: str = "f"
    """`f` trains the propagator, `g` the corrector behind a frozen propagator."""
    model: str = "fast"
    steps: int = 10_000
    lr: float = 1e-3
    lr_end: float = 1e-6
    schedule: str = "cosine"
    """`cosine` or `exponential`, from lr to lr_end, after `warmup_steps` of linear rise."""
    warmup_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    clip_norm: float = 0.05
    """Largest norm of the gradient; 0 does not clip. Usual norms are 0.02, and rare spikes ruin a run (docs/log.md)."""
    ema: float = 0.999
    """Decay of the averaged weights, which are validated and exported; 0 uses the weights themselves."""
    content: str = "charbonnier"
    spectrum_weight: float = 0.0
    iterates: int = 5
    """N of eq. 4, for stage g."""
    bf16: bool = True
    seed: int = 0
    validate_every: int = 500
    checkpoint_minutes: float = 3.0
    mixture: data.MixtureConfig = field(default_factory=data.MixtureConfig)
    blur: blur.BlurConfig = field(default_factory=blur.BlurConfig)
    sources: tuple[SourceConfig, ...] = ()

    def __post_init__(self) -> None:
        _require(self.stage in ("f", "g"), f"stage is '{self.stage}'; use 'f' or 'g'.")
        _require(self.model in networks.PRESETS, f"model is '{self.model}'; use {' or '.join(networks.PRESETS)}.")
        _require(
            self.schedule in ("cosine", "exponential"), f"schedule is '{self.schedule}'; use cosine or exponential."
        )
        _require(self.content in losses.CONTENT, f"content is '{self.content}'; use {', '.join(losses.CONTENT)}.")
        _require(self.steps >= 1 and self.iterates >= 1, "steps and iterates must be at least 1.")
        _require(0 < self.lr_end <= self.lr, f"lr_end {self.lr_end} must be above 0 and at most lr {self.lr}.")
        _require(0 <= self.ema < 1, f"ema is {self.ema}; it must lie in [0, 1).")


def read_recipe(path: Path) -> TrainConfig:
    """Read a TrainConfig from a TOML file; what it leaves out keeps its default.

    Raises ConfigError for a missing or malformed file, and for a key that is unknown, naming the nearest known one.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"The recipe {path} cannot be read ({error.strerror}); give a TOML file.") from error
    except ValueError as error:
        raise ConfigError(f"The recipe {path} is not valid TOML ({error}).") from error
    for key, section in (("mixture", data.MixtureConfig), ("blur", blur.BlurConfig)):
        if key in content:
            content[key] = _from_table(section, content[key], f"[{key}] of {path}")
    if "sources" in content:
        content["sources"] = tuple(_from_table(SourceConfig, s, f"[[sources]] of {path}") for s in content["sources"])
    return _from_table(TrainConfig, content, str(path))


def _from_table(section: Any, table: dict[str, Any], where: str) -> Any:
    """Make the dataclass `section` of a TOML table."""
    known = [f.name for f in dataclasses.fields(section)]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0)
            raise ConfigError(f"'{key}' in {where} is unknown; the nearest known key is '{near[0]}'.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return section(**values)
    except TypeError as error:
        raise ConfigError(f"{where} has a value of the wrong type or lacks one ({error}).") from error


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of `step`, counted from 0."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    progress = min(1.0, step / config.steps)
    if config.schedule == "exponential":
        return rise * config.lr * (config.lr_end / config.lr) ** progress
    return rise * (config.lr_end + (config.lr - config.lr_end) * (1 + math.cos(math.pi * progress)) / 2)


def distance(x: Tensor, sharp: Tensor, config: TrainConfig) -> Tensor:
    """Return the loss L between an estimate and the sharp image."""
    x = x.float()
    total = losses.CONTENT[config.content](x, sharp)
    if config.spectrum_weight:
        total = total + config.spectrum_weight * losses.spectrum_l1(x, sharp)
    return total


def load_sources(
    config: TrainConfig, paths: dict[str, Path]
) -> tuple[list[tuple[data.Source, float]], list[data.Photo]]:
    """Read every source of the recipe, and the photographs held out for validation.

    Raises ConfigError where names and `--data` do not match, DataError for unusable data.
    """
    wanted = {source.name for source in config.sources}
    if missing := sorted(wanted - paths.keys()):
        raise ConfigError(f"The recipe needs data for {', '.join(missing)}; give --data NAME=PATH for each.")
    if unknown := sorted(paths.keys() - wanted):
        raise ConfigError(f"--data {', '.join(unknown)} is not in the recipe; it has {', '.join(sorted(wanted))}.")
    side = config.mixture.block_px
    loaded: list[tuple[data.Source, float]] = []
    held_out: list[data.Photo] = []
    for source in config.sources:
        path = paths[source.name]
        made: data.Source
        if source.kind == "photos":
            smallest = side + 2 * config.blur.margin_px
            made = data.PhotoSource(data.load_photos(path, smallest_px=smallest), config.blur)
            held_out += data.load_photos(path, held_out=True, smallest_px=smallest)
        elif source.kind == "video":
            made = data.VideoSource(data.load_video(path), source.name, config.blur)
        else:
            pairs = data.load_pairs(path, blurry=source.blurry, smallest_px=side)
            if source.kind == "pairs":
                made = data.PairSource(pairs)
            else:
                made = data.PhotoSource([data.Photo.of(name, sharp) for _, sharp, name in pairs], config.blur)
        loaded.append((made, source.weight))
    return loaded, held_out


class Validation:
    """Fixed pairs, and the mean PSNR of the blurry images and of every iterate on them, set by set."""

    def __init__(self, sets: dict[str, list[tuple[Tensor, Tensor, str]]], device: torch.device) -> None:
        self.sets = sets
        self.device = device

    @torch.no_grad()
    def scores(self, iterates: Callable[[Tensor], Iterator[Tensor]]) -> dict[str, list[float]]:
        """Return for each set the mean PSNR in dB of y, x_0, x_1, ..., rounded to uint8 as a file would be."""
        result = {}
        for name, pairs in self.sets.items():
            rows = []
            for blurry, sharp, _ in pairs:
                y, target = (v[None].to(self.device).float() / 255 for v in (blurry, sharp))
                estimates = [y, *iterates(y)]
                rows.append([float(_psnr_db(x, target)) for x in estimates])
            result[name] = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        return result


def _psnr_db(x: Tensor, sharp: Tensor) -> Tensor:
    rounded = (x.clamp(0, 1) * 255).round() / 255
    return -10 * torch.log10(((rounded - sharp) ** 2).mean().clamp(min=1e-10))


class Run:
    """A run folder: config.json, log.jsonl, last.pt to resume from, and the network it trains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, row: dict) -> None:
        """Append one line to log.jsonl."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def save_state(self, state: dict) -> None:
        """Write last.pt under a temporary name, then rename; the one before stays as previous.pt."""
        temporary, last = self.folder / "last.pt.part", self.folder / "last.pt"
        torch.save(state, temporary)
        if last.exists():
            os.replace(last, self.folder / "previous.pt")
        os.replace(temporary, last)

    def load_state(self) -> dict | None:
        """Return the newest readable state, or None for a new run."""
        for name in ("last.pt", "previous.pt"):
            with contextlib.suppress(OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
                return torch.load(self.folder / name, map_location="cpu", weights_only=True)
        return None


def train(
    config: TrainConfig,
    paths: dict[str, Path],
    folder: Path,
    *,
    validation: dict[str, Path] | None = None,
    propagator: Path | None = None,
    initial: Path | None = None,
    max_minutes: float = math.inf,
    report: Callable[[dict], None] = lambda row: None,
) -> Path:
    """Run `config` in `folder` to its end, or until `max_minutes`, and return the trained network's file.

    `paths` gives each source of the recipe its path, and `validation` names folders of real pairs to judge by;
    `propagator` is the trained F that stage g starts from; `initial` gives the first weights of the network itself,
    to go on from another run or to fine-tune. `report` sees every row of log.jsonl. The same call again
    resumes.
    """
    if config.stage == "g" and propagator is None:
        raise ConfigError("Stage g needs a trained propagator; give --propagator RUN/F.safetensors.")
    started = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    sources, held_out = load_sources(config, paths)
    sets = {"photos": data.validation_pairs(held_out, config.blur)} if held_out else {}
    sets |= {name: data.load_pairs(path) for name, path in (validation or {}).items()}
    judge = Validation(sets, device)

    frozen, model, history = _models(config, propagator, initial)
    cast(Any, model).to(device, memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), config.lr, config.betas, weight_decay=config.weight_decay)
    run = Run(folder)
    first, seconds = 0, 0.0
    if state := run.load_state():
        if state["config"] != _identity(config):
            raise ConfigError(f"{folder} holds a run with other settings; give another --out or the same recipe.")
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first, seconds = state["step"], state["seconds"]
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))

    def estimates(network: nn.Module, y: Tensor) -> Iterator[Tensor]:
        if frozen is None:
            yield network(y)
        else:
            with torch.no_grad():
                x = frozen(y)
            assert isinstance(network, golf.Corrector)
            yield from network.iterates(x, config.iterates)

    def validated(y: Tensor) -> Iterator[Tensor]:
        if frozen is not None:
            yield frozen(y)
        yield from estimates(averaged, y)

    def save(step: int) -> None:
        elapsed = seconds + time.monotonic() - started
        state = {"model": model.state_dict(), "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()}
        run.save_state({**state, "step": step, "seconds": elapsed, "config": _identity(config)})

    mixture = data.Mixture(sources, dataclasses.replace(config.mixture, seed=config.seed), device)
    last_saved = window = time.monotonic()
    losses_seen: list[Tensor] = []
    step = first
    for step in range(first, config.steps):
        batch = mixture.batch(step)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        y = batch.blurry.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            terms = [distance(x, batch.sharp, config) for x in estimates(model, y)]
        loss = torch.stack(terms).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        decay = min(config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
        losses_seen.append(loss.detach())

        done = step + 1
        if done % config.validate_every == 0 or done == config.steps:
            mean_loss = float(torch.stack(losses_seen).mean())
            if not math.isfinite(mean_loss):
                raise GolfError(
                    f"The loss is {mean_loss} at step {done}; lower lr. The last good state is in {folder}."
                )
            now = time.monotonic()
            pixels = len(losses_seen) * config.mixture.batch * config.mixture.patch_px**2
            row = {
                "step": done,
                "loss": mean_loss,
                "lr": learning_rate(config, step),
                "mpx_per_s": pixels / (now - window) / 1e6,
                "waiting": mixture.seconds_waited / (now - window),
                "minutes": (seconds + now - started) / 60,
                "psnr_db": judge.scores(validated),
            }
            run.log(row)
            report(row)
            losses_seen, window, mixture.seconds_waited = [], time.monotonic(), 0.0
        out_of_time = time.monotonic() - started > 60 * max_minutes
        if time.monotonic() - last_saved > 60 * config.checkpoint_minutes or done == config.steps or out_of_time:
            save(done)
            last_saved = time.monotonic()
        if out_of_time:
            break
    history |= {
        "recipe": dataclasses.asdict(config),
        "steps": step + 1,
        "hours": (seconds + time.monotonic() - started) / 3600,
        "hardware": f"{torch.get_num_threads()} CPU cores" if device.type == "cpu" else torch.cuda.get_device_name(),
    }
    path = folder / ("F.safetensors" if config.stage == "f" else "G.safetensors")
    checkpoint.save_network(path, cast(networks.Network, averaged.residual), history)
    return path


def _models(
    config: TrainConfig, propagator: Path | None, initial: Path | None
) -> tuple[golf.Propagator | None, nn.Module, dict]:
    """Return the frozen propagator of stage g, the module to train, and what its history starts with."""
    preset = networks.PRESETS[config.model]
    spec = preset.f if config.stage == "f" else preset.g
    network = networks.build(spec)
    history: dict[str, Any] = {}
    if initial is not None:
        network, before = checkpoint.load_network(initial)
        if network.spec != spec:
            raise ConfigError(f"{initial} is another network ({network.spec}) than the recipe's ({spec}).")
        history = {"initial": {"sha256": checkpoint.network_hash(network), "history": before}}
    if config.stage == "f":
        return None, golf.Propagator(network), history
    assert propagator is not None
    trained, _ = checkpoint.load_network(propagator)
    frozen = golf.Propagator(trained).requires_grad_(False).eval()
    history["propagator_sha256"] = checkpoint.network_hash(trained)
    cast(Any, frozen).to("cuda" if torch.cuda.is_available() else "cpu", memory_format=torch.channels_last)
    return frozen, golf.Corrector(network), history


def _identity(config: TrainConfig) -> str:
    """Return what two runs must share for one to continue the other."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)
