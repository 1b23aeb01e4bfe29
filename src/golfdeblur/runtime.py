"""Weights on disk become a `Runner`: a network as a function on (B, 3, H, W) float32 arrays of any size.

A model is a folder with F.onnx, G.onnx (unless F is all there is) and config.json, which names their sha256. The
folders `fast` and, once it is trained, `paper` lie inside the package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfdeblur import backends
from golfdeblur.backends import Network
from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.memory import LARGEST_TILE_PX
from golfdeblur.tiles import best_tile, fill, halved, join, run_tiled, whole

EMBEDDED = Path(__file__).parent / "weights"
FORMAT = 1

SMALLEST_TILE_PX = 256 * 256
"""Where even this does not fit into memory, the picture fails."""


@dataclass(frozen=True)
class Weights:
    """One model on disk: its folder and what config.json says of it."""

    name: str
    folder: Path
    config: dict[str, Any]

    def network(self, letter: str) -> dict[str, Any]:
        """Return the entry of network `F` or `G`: file, sha256, parameters, multiple_px, receptive_field_px."""
        return self.config["networks"][letter]

    def load(self, letter: str, runtime: str = "auto") -> Runner:
        """Check the sha256 of network `F` or `G` and make it runnable in one of `backends.RUNTIMES`.

        `auto` is onnxruntime on the CPU where what it stands for does not start. Raises WeightsError if the checksum
        does not match, ConfigError for a runtime that is unknown, not installed, or too inexact, or that the model has
        no networks for.
        """
        entry = self.network(letter)
        path = self.folder / entry["file"]
        content = _checked(path, entry["sha256"])
        name = backends.resolve(runtime)
        try:
            network = backends.open_network(name, self._int8(entry) if name.endswith("int8") else content, path)
        except ConfigError:
            if runtime != "auto":
                raise
            name = "onnxruntime"
            network = backends.open_network(name, content, path)
        multiple_px, scales = entry["multiple_px"], entry.get("scales", 1)
        if name in backends.REDUCED:
            reference = backends.open_network("onnxruntime", content, path)
            found = backends.agreement_db(network, reference, multiple_px=multiple_px, scales=scales)
            if found < backends.REDUCED[name]:
                raise ConfigError(
                    f"Runtime '{name}' agrees with float32 only to {found:.1f} dB on this machine, "
                    f"{backends.REDUCED[name]:.0f} are needed; use --runtime auto."
                )
        return Runner(
            network,
            multiple_px=multiple_px,
            overlap_px=_overlap_px(entry),
            scales=scales,
            release=network.release,
            in_turns=network.in_turns,
            runtime=name,
        )

    def _int8(self, entry: dict[str, Any]) -> bytes:
        """Return the 8-bit form of a network. Raises ConfigError if the model has none."""
        if "int8" not in entry:
            raise ConfigError(
                f"Model '{self.name}' has no 8-bit networks; export it with --calibrate PHOTOS, or use --runtime auto."
            )
        return _checked(self.folder / entry["int8"]["file"], entry["int8"]["sha256"])


def _overlap_px(entry: dict[str, Any]) -> int | None:
    """Return `networks.ResidualUNet.overlap_px`; the receptive field where a model does not say it."""
    reach = entry["receptive_field_px"]
    return None if reach is None else entry.get("overlap_px", whole(reach, entry["multiple_px"]))


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
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise WeightsError(f"{folder} has format {config['format']}, this version reads format {FORMAT}.")
        for letter in {"F", *config["networks"]}:
            missing = {"file", "sha256", "multiple_px", "receptive_field_px"} - config["networks"][letter].keys()
            if missing:
                raise KeyError(", ".join(sorted(missing)))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no config.json; give a folder written by 'golf export'.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}/config.json is not a model's ({error}); export the model again.") from error
    return Weights(str(model) if str(model) in names else folder.name, folder, config)


class Runner:
    """One network on images of any size: padded to whole cells, large ones in exact tiles.

    `tile_px` is the number of pixels above which an image is tiled; it falls when memory runs out. A network of several
    `scales` sees the image at half the size first (`networks.ResidualUNet`).
    """

    def __init__(
        self,
        network: Network,
        *,
        multiple_px: int,
        overlap_px: int | None,
        scales: int = 1,
        release: Callable[[], None] = lambda: None,
        in_turns: bool = False,
        runtime: str = "",
    ) -> None:
        self._network = network
        self.runtime = runtime
        """Which of `backends.RUNTIMES` computes the network."""
        self.release = release
        """Give the memory of the last runs back."""
        self.in_turns = in_turns
        """Whether it runs in the memory that the other networks ran in (`backends.Engine`)."""
        self.multiple_px = multiple_px
        self.overlap_px = overlap_px
        """How far parts of an image must overlap (`tiles`); None: the network must see it whole."""
        self.scales = scales
        self.tile_px = LARGEST_TILE_PX

    def __call__(self, x: np.ndarray, *, hint: np.ndarray | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Return F(x) or G(x) for `x`, (B, 3, H, W) float32 in [0, 1], in the same shape; not clipped.

        A part of an image brings the whole image's `hint` along, from its own first row on. `out`, of the shape of `x`,
        is memory that the result may be written to: fresh pages for a large frame can take a tenth of the time. Raises
        MemoryError where not even small tiles fit.
        """
        if self.scales > 1 and hint is None:
            hint = self.hint(self._halved(x))
        return self._one_scale(x, hint, out)

    def hint(self, half: np.ndarray, *, scales: int | None = None) -> np.ndarray:
        """Return what the network adds to `half`, the image at half the size (`tiles.halved`), (B, 3, H/2, W/2)."""
        scales = self.scales - 1 if scales is None else scales
        batch, channels, height, width = half.shape
        if scales > 1:
            hint = self.hint(self._halved(half), scales=scales - 1)
        else:
            size = (whole(height, self.multiple_px) // 2, whole(width, self.multiple_px) // 2)
            hint = np.zeros((batch, channels, *size), half.dtype)
        # A new array: the network's own may lie in the middle of the memory that the next run's maps would fit into.
        return self._one_scale(half, hint, None) - half

    def _halved(self, x: np.ndarray) -> np.ndarray:
        size = x.shape[3], x.shape[2]
        return halved(lambda top, bottom: x[:, :, top:bottom], size, multiple=self.multiple_px)

    def _one_scale(self, x: np.ndarray, hint: np.ndarray | None, out: np.ndarray | None) -> np.ndarray:
        while True:
            try:
                return self._tiled(x, hint, out)
            except MemoryError:
                if self.overlap_px is None or self.tile_px <= SMALLEST_TILE_PX:
                    raise
                self.tile_px = min(self.tile_px, x[0, 0].size) // 2

    def _tiled(self, x: np.ndarray, hint: np.ndarray | None, out: np.ndarray | None) -> np.ndarray:
        batch, channels, height, width = x.shape
        m, overlap = self.multiple_px, self.overlap_px
        size = whole(height, m), whole(width, m)
        if overlap is None or size[0] * size[1] <= self.tile_px:
            if hint is not None:
                given = join(x, hint[:, :, : size[0] // 2], out=np.empty((batch, 2 * channels, *size), x.dtype))
            elif size == (height, width):
                given = np.ascontiguousarray(x)
            else:
                given = fill(x, out=np.empty((batch, channels, *size), x.dtype))
            return self._network(given)[:, :, :height, :width]
        tile = best_tile(size, tile_px=self.tile_px, overlap=overlap, multiple=m)
        fits = out if out is not None and out.shape == x.shape else None
        return run_tiled(self._network, x, tile=tile, overlap=overlap, multiple=m, hint=hint, out=fits)
