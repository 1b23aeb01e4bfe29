"""A model on disk: a folder with F.onnx, G.onnx (unless F is all there is) and config.json, which describes them.

The folders `fast` and `paper` lie inside the package, in `weights/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golfdeblur.errors import ConfigError, WeightsError

EMBEDDED = Path(__file__).parent / "weights"
FORMAT = 1

UNKNOWN_BYTES_PER_PX = 1000
"""For models whose config.json does not say what a pixel takes: more than any of ours."""


@dataclass(frozen=True)
class NetworkFile:
    """F or G on disk, and what running it needs."""

    path: Path
    """Its ONNX file."""
    sha256: str
    multiple_px: int
    """Height and width that it takes are multiples of this."""
    overlap_px: int | None
    """How far parts of an image must overlap (`engine.tiles`); None: it must see the image whole."""
    receptive_field_px: int | None
    scales: int = 1
    bytes_per_px: int = UNKNOWN_BYTES_PER_PX
    """Memory that it takes for each pixel of what it sees at once."""
    macs_per_px: float | None = None
    parameters: int | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    """What `learning.networks.build` makes it from."""
    int8_path: Path | None = None
    int8_sha256: str = ""

    @property
    def takes_level(self) -> bool:
        """It is told how strong the noise is, in a fourth channel: a G for strokes that deconvolve."""
        return bool(self.spec.get("level"))

    def content(self) -> bytes:
        """Return the ONNX file. Raises WeightsError if it cannot be read or does not match its sha256."""
        return _checked(self.path, self.sha256)

    def int8_content(self) -> bytes:
        """Return the 8-bit form of the network. Raises ConfigError if the model has none, WeightsError as `content`."""
        if self.int8_path is None:
            raise ConfigError(
                f"Model '{self.path.parent.name}' has no 8-bit networks; export it with --calibrate PHOTOS, "
                "or use --runtime auto."
            )
        return _checked(self.int8_path, self.int8_sha256)


@dataclass(frozen=True)
class Score:
    """Mean PSNR in dB on one data set, of the result and of the blurry input; None where an image equals the sharp."""

    psnr: float | None
    input_psnr: float | None
    images: int


@dataclass(frozen=True)
class Weights:
    """One model on disk."""

    name: str
    folder: Path
    f: NetworkFile
    g: NetworkFile | None
    """A corrector that sees x alone; None in a model without one."""
    stroke: NetworkFile | None = None
    """G of strokes that deconvolve: it corrects what their data step leaves (`NetworkFile.takes_level`)."""
    k: NetworkFile | None = None
    """The network that finds kernels (`deconvolution.estimation.Reader`), if the model has one."""
    j: NetworkFile | None = None
    """The network that judges strokes (`deconvolution.uniformity.expected_gain`), if the model has one."""
    data: str = ""
    """What it was trained on."""
    scores: dict[str, Score] = field(default_factory=dict)
    """By the name of the data set."""

    def config(self) -> dict[str, Any]:
        """Return all that config.json says, also what nothing here asks for."""
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))

    @property
    def networks(self) -> dict[str, NetworkFile]:
        """F, and G, K and J if there are any, by their letters."""
        every = {"F": self.f, "G": self.g or self.stroke, "K": self.k, "J": self.j}
        return {letter: file for letter, file in every.items() if file is not None}


def embedded_names() -> list[str]:
    """Return the names of the models inside the package."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/config.json"))


def find_weights(model: str | Path) -> Weights:
    """Find an embedded model by name, or a model folder by path. Raises WeightsError if there is none."""
    names = embedded_names()
    folder = EMBEDDED / model if str(model) in names else Path(model)
    if not folder.is_dir():
        raise WeightsError(
            f"Model '{model}' is unknown; use {' or '.join(names)}, "
            "or the path of a folder that holds F.onnx, G.onnx and config.json."
        )
    try:
        return _described(folder, json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no config.json; give a folder written by 'golf export'.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{folder}/config.json is not a model's ({error}); export the model again.") from error


def _described(folder: Path, config: dict[str, Any]) -> Weights:
    if config["format"] != FORMAT:
        raise WeightsError(f"{folder} has format {config['format']}, this version reads format {FORMAT}.")
    networks = config["networks"]
    g = _network_file(folder, networks["G"]) if "G" in networks else None
    return Weights(
        folder.name,
        folder,
        _network_file(folder, networks["F"]),
        None if g is None or g.takes_level else g,
        g if g is not None and g.takes_level else None,
        _network_file(folder, networks["K"]) if "K" in networks else None,
        _network_file(folder, networks["J"]) if "J" in networks else None,
        config.get("data", ""),
        {name: Score(x["psnr"], x["input_psnr"], x["images"]) for name, x in config.get("scores", {}).items()},
    )


def _network_file(folder: Path, entry: dict[str, Any]) -> NetworkFile:
    reach, multiple, int8 = entry["receptive_field_px"], entry["multiple_px"], entry.get("int8")
    # Models exported before 2026-11-29 name no overlap; the receptive field in whole cells is enough.
    enough = None if reach is None else reach + -reach % multiple
    return NetworkFile(
        folder / entry["file"],
        entry["sha256"],
        multiple,
        None if reach is None else entry.get("overlap_px", enough),
        reach,
        scales=entry.get("scales", 1),
        bytes_per_px=entry.get("bytes_per_px", UNKNOWN_BYTES_PER_PX),
        macs_per_px=entry.get("macs_per_px"),
        parameters=entry.get("parameters"),
        spec=entry.get("spec", {}),
        int8_path=folder / int8["file"] if int8 else None,
        int8_sha256=int8["sha256"] if int8 else "",
    )


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); install or export the model again.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path} is damaged: its sha256 is {found[:12]}..., config.json names {sha256[:12]}...; "
            "install or export the model again."
        )
    return content
