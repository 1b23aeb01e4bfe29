"""A run on disk: its resolved configuration, log, exact state, contact sheets and weights."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from golfdeblur.errors import ConfigError, GolfError, WeightsError
from golfdeblur.files import atomic
from golfdeblur.learning import checkpoint, networks
from golfdeblur.learning.recipe import Recipe

DIGEST_BYTES = 32

DAMAGES = OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError
"""What reading a damaged file raises."""

UNFINISHED = "unfinished"
"""The folder for the networks of a run that has not ended."""

AGAIN = "Free space and give the same command again: it goes on from the last state that is there."


class Run:
    """The folder of one run.

    It holds config.json (with the commit), log.jsonl, last.pt and previous.pt to resume from, sheets/, best/ (the
    networks of the highest validation so far) and in the end F.safetensors, or G.safetensors with its F.
    """

    def __init__(self, folder: Path, config: Recipe, *, origin: dict[str, Any], frozen: Path | None = None) -> None:
        self.folder = folder
        self.config = config
        self.frozen = frozen
        """The F that a G is trained behind; it is copied beside every G, so that the two are a whole model."""
        self.origin = origin
        """The networks that the run starts from, by their hashes."""

    @property
    def identity(self) -> str:
        """What two runs must share for one to go on with the other's state."""
        return json.dumps([dataclasses.asdict(self.config), self.origin], sort_keys=True)

    def create(self) -> None:
        """Make the folder and write config.json. Raises ConfigError where that is impossible."""
        content = {"commit": commit(), "config": dataclasses.asdict(self.config)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for half_written in self.folder.glob(".next.pt.*.part"):  # what a kill while saving left
                half_written.unlink()
            if self.frozen is not None:
                (self.folder / UNFINISHED).mkdir(exist_ok=True)
                checkpoint.save_network(
                    self.folder / UNFINISHED / "F.safetensors", *checkpoint.load_network(self.frozen)
                )
            atomic.write(self.folder / "config.json", (json.dumps(content, indent=1) + "\n").encode())
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be written ({error.strerror}); give another --out.") from error

    def log(self, row: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the log's rows of steps after `step`, which a resumed run makes anew."""
        path = self.folder / "log.jsonl"
        if path.exists():
            kept = [row for row in read_log(self.folder) if row["step"] <= step]
            atomic.write(path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def sheet(self, step: int, picture: Image.Image) -> None:
        """Write the contact sheet of `step` to sheets/. Raises GolfError where that is impossible."""
        path = self.folder / "sheets" / f"step-{step:07}.png"
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic.replacing(path) as file:
                picture.save(file, "PNG")
        except OSError as error:
            raise GolfError(f"{path} cannot be written ({error.strerror}). {AGAIN}") from error

    def save_network(self, place: str, network: networks.Residual, history: dict[str, Any]) -> Path:
        """Write what is trained as safetensors to `place` in the folder, a G beside its F; return its path.

        Raises GolfError where it cannot be written.
        """
        folder = self.folder / place
        path = folder / f"{self.config.stage.upper()}.safetensors"
        try:
            folder.mkdir(exist_ok=True)
            if self.frozen is not None:
                checkpoint.save_network(folder / "F.safetensors", *checkpoint.load_network(self.frozen))
            checkpoint.save_network(path, network, history)
        except OSError as error:
            raise GolfError(f"The network cannot be written to {folder} ({error.strerror}). {AGAIN}") from error
        return path

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace last.pt atomically; the one before stays as previous.pt.

        Raises GolfError where it cannot be written; what was saved before is still there.
        """
        buffer = io.BytesIO()
        torch.save({**state, "identity": self.identity}, buffer)
        content = buffer.getvalue()
        last = self.folder / "last.pt"
        try:
            atomic.write(self.folder / "next.pt", hashlib.sha256(content).digest() + content)
            if last.exists():
                os.replace(last, self.folder / "previous.pt")
            os.replace(self.folder / "next.pt", last)
        except OSError as error:
            raise GolfError(
                f"The state of step {state['step']} cannot be written to {last} ({error.strerror}). {AGAIN}"
            ) from error

    def diverged(self, what: str) -> str:
        """Return the sentence for a loss that went wrong, which names the last good state."""
        last = self.folder / "last.pt"
        kept = f"The last good state is {last}" if last.exists() else "No state had been saved yet"
        return f"The loss {what}. {kept}; lower lr or clip_norm, or look at these files, and start with another --out."

    def load_state(self, notice: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest sound state, or None for a new run; tell `notice` of damaged ones.

        Raises ConfigError if the run has other settings.
        """
        for name in ("last.pt", "previous.pt"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                state = _read_state(path)
            except DAMAGES as error:
                notice(f"{path} is damaged ({error}); the state before it is used instead.")
                continue
            if state["identity"] != self.identity:
                raise ConfigError(
                    f"{self.folder} holds a run with other settings: {_changes(state['identity'], self.identity)}. "
                    "Give another --out, or the settings of that run."
                )
            return state
        return None


def unfinished(folder: Path) -> tuple[Path, str]:
    """Write the averaged network of a run's last state to UNFINISHED in its folder; return that, and what it is.

    Raises WeightsError if the folder holds no sound state of a run.
    """
    try:
        state = _read_state(folder / "last.pt")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
    except DAMAGES as error:
        raise WeightsError(
            f"{folder} holds no F.safetensors and no state of a stopped run ({error}); give the folder of a run."
        ) from error
    letter = config["stage"].upper()
    network = networks.build(getattr(networks.PRESETS[config["model"]], letter.lower()))
    network.load_state_dict({key.removeprefix("residual."): value for key, value in state["averaged"].items()})
    history = {"recipe": config, "steps": state["step"], "hours": state["seconds"] / 3600}
    (folder / UNFINISHED).mkdir(exist_ok=True)
    checkpoint.save_network(folder / UNFINISHED / f"{letter}.safetensors", network, history)
    sentence = f"The run stopped at step {state['step']} of {config['steps']}; {letter} is the average up to there."
    return folder / UNFINISHED, sentence


def _read_state(path: Path) -> dict[str, Any]:
    """Return a state that `save_state` wrote. Raises DAMAGES."""
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise ValueError("its checksum does not fit")
    return torch.load(io.BytesIO(content[DIGEST_BYTES:]), map_location="cpu", weights_only=True)


def _changes(before: str, now: str) -> str:
    """Say in which settings two identities differ, and what they were and are."""
    (old, old_origin), (new, new_origin) = json.loads(before), json.loads(now)
    old, new = _flat(old), _flat(new)
    named = [
        f"{key} was {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    return "; ".join(named + ["it started from other networks"] * (old_origin != new_origin))


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """Write nested tables as one, with keys as --set takes them."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= {f"{key}.{k}": v for k, v in _flat(value).items()} if isinstance(value, dict) else {key: value}
    return flat


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's log.jsonl; a last line cut short by a crash is left out.

    Raises ConfigError if there is none.
    """
    try:
        lines = (folder / "log.jsonl").read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{folder} holds no log.jsonl; give the folder of a run of golf train.") from error
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def hardware(device: torch.device) -> str:
    """Return what a process of the run computes on."""
    return f"{torch.get_num_threads()} CPU cores" if device.type == "cpu" else torch.cuda.get_device_name()


def commit() -> str | None:
    """Return the git commit of the source tree this package runs from, with + if it was changed; None outside one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not merely installed inside another project's tree
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
