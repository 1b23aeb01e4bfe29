"""Make the small model beside this file again: random weights that change a picture a little, F at two scales."""

import tempfile
from pathlib import Path

import torch

from golfdeblur.learning import checkpoint, export
from golfdeblur.learning.networks import ResidualUNet

torch.manual_seed(0)
with tempfile.TemporaryDirectory() as made:
    files = {letter: Path(made) / f"{letter}.safetensors" for letter in ("F", "G")}
    for letter, file in files.items():
        network = ResidualUNet((4, 8), (1, 1), scales=2 if letter == "F" else 1)
        torch.nn.init.normal_(network.tail[0].weight, std=0.02)
        checkpoint.save_network(file, network, {})
    export.export(files["F"], files["G"], Path(__file__).parent, name="tiny", notes={})
