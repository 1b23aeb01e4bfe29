"""Networks on disk: safetensors, with the spec of the network and where it came from in the file's metadata."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.files import atomic
from golfdeblur.learning import networks
from golfdeblur.weights import find_weights

FORMAT = 1

SPEC = "golf_spec"
"""The tensor that holds the spec, as bytes of JSON: programs that read tensors alone need it, too."""

KEPT_BITS = 16
"""Of the 24 significant bits of a weight: without the others files pack a tenth smaller (docs/decisions.md)."""


def save_network(path: Path, network: networks.Residual, history: dict) -> None:
    """Write `network` and its `history` (how it was trained, JSON values) under a temporary name, then rename.

    Weights are rounded to KEPT_BITS significant bits.
    """
    tensors = {name: _rounded(value.detach().cpu().contiguous()) for name, value in network.state_dict().items()}
    metadata = {"format": str(FORMAT), "spec": json.dumps(network.spec), "history": json.dumps(history)}
    tensors[SPEC] = spec_tensor(network.spec)
    atomic.write(path, save(tensors, metadata))  # safetensors' `save_file` would hide it from all other users


def spec_tensor(spec: dict) -> torch.Tensor:
    """Return `spec` as bytes of JSON, (N,) uint8."""
    return torch.tensor(list(json.dumps(spec).encode()), dtype=torch.uint8)


def load_network(path: Path) -> tuple[networks.Residual, dict]:
    """Return the network and history that `save_network` wrote; of F.onnx or G.onnx in a model folder no history.

    Raises WeightsError for a missing or corrupt file and for one of another format.
    """
    if path.suffix == ".onnx":
        files = find_weights(path.parent).networks
        if path.stem not in files:
            raise WeightsError(f"{path} is not F.onnx or G.onnx of its folder; give one of these.")
        return from_onnx(files[path.stem].content(), files[path.stem].spec), {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; train it first or give another path.") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); export or copy it again.") from error
    if metadata.get("format") != str(FORMAT):
        raise WeightsError(f"{path} has format {metadata.get('format')}, this version reads format {FORMAT}.")
    network = networks.build(json.loads(metadata["spec"]))
    tensors.pop(SPEC, None)  # files written before 2026-12-01 have none
    network.load_state_dict(tensors)
    return network, json.loads(metadata["history"])


def as_kept(network: networks.Residual) -> networks.Residual:
    """Return `network` with its weights as `save_network` writes them: rounded."""
    kept = networks.build(network.spec)
    kept.load_state_dict({name: _rounded(value.detach().cpu()) for name, value in network.state_dict().items()})
    return kept


def from_onnx(content: bytes, spec: dict) -> networks.Residual:
    """Return the network of an ONNX file that `export` wrote: its weights lie in there under their own names.

    Raises WeightsError for a file without them.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        stored = {tensor.name: tensor for tensor in onnx.load_from_string(content).graph.initializer}
        network = networks.build(spec)
        found = {name: onnx.numpy_helper.to_array(stored[f"residual.{name}"]) for name in network.state_dict()}
        network.load_state_dict({name: torch.tensor(value) for name, value in found.items()})
    except (DecodeError, KeyError, RuntimeError, ConfigError) as error:
        raise WeightsError(f"The ONNX file holds no network of golfdeblur ({error}); export it again.") from error
    return network


def _rounded(x: torch.Tensor) -> torch.Tensor:
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2**KEPT_BITS).round(), exponent - KEPT_BITS)


def lineage(network: torch.nn.Module, history: dict) -> list[dict]:
    """Return the history of `network` and of all that it was trained on from, the last one first, each by its sha256.

    It is the entry "before" in the history of what is made from `network`.
    """
    own = {name: value for name, value in history.items() if name != "before"}
    return [{"sha256": network_hash(network), **own}, *history.get("before", [])]


def distinct(*lineages: list[dict]) -> list[dict]:
    """Return the runs of several lineages in their order, each once: by its sha256, or, without one, by all it says."""
    return list({run.get("sha256") or json.dumps(run): run for lineage in lineages for run in lineage}.values())


def network_hash(network: torch.nn.Module) -> str:
    """Return the sha256 of all weights in the order of their names, as `save_network` writes them."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(_rounded(value.detach().cpu().contiguous()).numpy().tobytes())
    return digest.hexdigest()
