"""From safetensors to the ONNX files that everyone runs, with a check that both compute the same."""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfdeblur import runtimes
from golfdeblur.engine.runner import Runner
from golfdeblur.errors import DataError, WeightsError
from golfdeblur.files import atomic, image
from golfdeblur.learning import checkpoint, golf, int8, networks, run
from golfdeblur.weights import FORMAT

OPSET = 17
PARITY_SIZES = ((64, 64), (73, 201), (135, 87))
"""Heights and widths on which torch and onnxruntime are compared."""

CALIBRATION_PX = (320, 512)
"""Height and width of what is cut from the middle of each calibration photo."""

CALIBRATION_PHOTOS = 32


def export(
    f_path: Path,
    g_path: Path | None,
    folder: Path,
    *,
    name: str,
    notes: dict[str, Any],
    calibration: Path | None = None,
) -> dict[str, Any]:
    """Write F.onnx, G.onnx, config.json and training.json into `folder`; return the configuration.

    Without `g_path` the model is F alone. `notes` (data, scores, licence, ...) go into config.json,
    how the networks were trained into training.json. With a folder of
    blurry photos for `calibration` it also writes both networks with 8 bits, F.int8.onnx and G.int8.onnx. Raises
    WeightsError where an ONNX file differs from torch float32 by more than 1/255 or by less than 90 dB, and for a G
    that was trained behind another F, DataError for a folder without photos.
    """
    f_network, _ = checkpoint.load_network(f_path)
    blurry = [] if calibration is None else _calibration_photos(calibration)
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {}
    training: dict[str, Any] = {}
    for letter, path, wrap in (("F", f_path, golf.Propagator), ("G", g_path, golf.Corrector)):
        if path is None:
            continue
        given, history = checkpoint.load_network(path)
        if history.get("propagator_sha256", checkpoint.network_hash(f_network)) != checkpoint.network_hash(f_network):
            raise WeightsError(f"{path} was trained behind another F than {f_path}; export it with its own.")
        network = checkpoint.as_kept(given)
        training[letter] = history
        module = wrap(network).eval()
        content = to_onnx(module, folder / f"{letter}.onnx")
        entries[letter] = {
            "file": f"{letter}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "parameters": networks.count_parameters(network),
            "multiple_px": network.multiple_px,
            "receptive_field_px": network.receptive_field_px,
            "overlap_px": network.overlap_px,
            "scales": network.scales,
            "bytes_per_px": network.bytes_per_px,
            "macs_per_px": networks.macs_per_px(network),
            "spec": network.spec,
            "parity_db": check_parity(module, content),
        }
        if blurry:
            eight = folder / f"{letter}.int8.onnx"
            if isinstance(network, networks.ResidualUNet):
                content = to_onnx(wrap(int8.even_channels(network, blurry)).eval(), eight)
            # G sees what F made of the photos.
            made, blurry = int8.to_int8(content, eight, blurry, multiple_px=network.multiple_px, scales=network.scales)
            entries[letter]["int8"] = {"file": eight.name, "sha256": hashlib.sha256(made).hexdigest()}
    config = {
        "format": FORMAT,
        "name": name,
        "date": datetime.date.today().isoformat(),
        "networks": entries,
        **notes,
    }
    for file, said in (("training.json", training), ("config.json", config)):
        atomic.write(folder / file, (json.dumps(said, indent=1) + "\n").encode())
    return config


def to_onnx(module: golf.Propagator | golf.Corrector, path: Path) -> bytes:
    """Write `module`, (B, C, H, W) to (B, 3, H, W) with B, H, W free, as an ONNX file with its weights inside.

    C is the `channels` of its network. Of several scales it is one: who runs the file makes the others, as
    `Runner` does.
    """
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        made = Path(folder) / path.name
        torch.onnx.export(
            module,
            (torch.rand(1, module.residual.channels, 64, 64),),
            str(made),
            input_names=["x"],
            output_names=["out"],
            opset_version=OPSET,
            dynamic_axes={"x": {0: "batch", 2: "height", 3: "width"}, "out": {0: "batch", 2: "height", 3: "width"}},
            dynamo=False,
        )
        content = made.read_bytes()
    atomic.write(path, content)
    return content


def _calibration_photos(folder: Path) -> list[np.ndarray]:
    """Return the middles of up to CALIBRATION_PHOTOS photos below `folder`, evenly chosen, (1, 3, H, W) in [0, 1]."""
    paths = image.images_in(folder)
    if not paths:
        raise DataError(f"{folder} holds no photos; give a folder of blurry ones, like those to be deblurred.")
    cut = []
    for path in paths[:: -(-len(paths) // CALIBRATION_PHOTOS)]:
        pixels = image.read_rgb8(path)
        top, left = (max(0, (n - side) // 2) for n, side in zip(pixels.shape, CALIBRATION_PX, strict=False))
        middle = pixels[top : top + CALIBRATION_PX[0], left : left + CALIBRATION_PX[1]]
        cut.append(middle.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    return cut


def check_parity(module: golf.Propagator | golf.Corrector, content: bytes) -> float:
    """Return the least PSNR in dB of onnxruntime against torch over all sizes.

    Raises WeightsError under 90 dB or beyond 1/255.
    """
    network = runtimes.open_network("onnxruntime", content)
    multiple_px, scales = module.residual.multiple_px, module.residual.scales
    session = Runner(network, multiple_px=multiple_px, overlap_px=None, scales=scales)
    generator = torch.Generator().manual_seed(0)
    worst = float("inf")
    for height, width in PARITY_SIZES:
        x = torch.rand(1, 3, height, width, generator=generator)
        # The runtime mirrors the border up to whole cells, and so does the reference.
        border = ((0, 0), (0, 0), (0, -height % multiple_px), (0, -width % multiple_px))
        whole = torch.from_numpy(np.pad(x.numpy(), border, mode="symmetric"))
        with torch.no_grad():
            difference = session(x.numpy()) - module(whole).numpy()[:, :, :height, :width]
        psnr_db = -10 * np.log10(max(float(np.square(difference).mean()), 1e-20))
        if psnr_db < 90 or np.abs(difference).max() > 1 / 255:
            raise WeightsError(
                f"The exported network differs from torch by {np.abs(difference).max():.2e} ({psnr_db:.0f} dB) at "
                f"{height}x{width}; 90 dB are needed."
            )
        worst = min(worst, psnr_db)
    return round(float(worst), 1)


def find_networks(
    paths: list[Path], *, notice: Callable[[str], None] = lambda sentence: None
) -> tuple[Path, Path | None]:
    """Return the files of F and G (None if there is none) in a run folder, or the two files given.

    `notice` is told which state of a stopped run they are. Raises WeightsError where there is no F.
    """
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        if not (folder / "F.safetensors").exists():
            folder, sentence = run.unfinished(folder)
            notice(sentence)
        f, g = folder / "F.safetensors", folder / "G.safetensors"
        return f, g if g.exists() else None
    if len(paths) > 2:
        raise WeightsError(f"{len(paths)} files are given; give one run folder, or the files of F and G.")
    return paths[0], paths[1] if len(paths) == 2 else None
