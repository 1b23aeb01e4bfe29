"""Feature networks for the perceptual loss, frozen: the paper's VGG-11 with batch norm, and a short VGG-19.

Source: section 5.2 of "A Deep Optimization Approach for Image Deconvolution"; Simonyan and Zisserman, arXiv 1409.1556.
Neither network's weights are part of this package; both are read from a file that the user names.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from golfdeblur.errors import WeightsError

VGG11_CHANNELS = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")
VGG11_URL = "https://download.pytorch.org/models/vgg11_bn-6002323d.pth"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG11(nn.Module):
    """The convolutions of VGG-11 with batch norm up to its fifth max-pooling, 1/32 of the resolution, 512 channels.

    Layer indices follow the `features` of torchvision's `vgg11_bn`, so that its state dict fits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in VGG11_CHANNELS:
            if isinstance(channels, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
                before = channels
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of `x`, (B, 3, H, W) in [0, 1], as (B, 512, H // 32, W // 32)."""
        return self.features((x - self.mean) / self.std)


class VGG19(nn.Module):
    """VGG-19 up to conv3_1, its activations normalised to a mean of 1: (B, 256, H / 4, W / 4).

    Convolution 0 is 1x1 and takes RGB in [0, 1] to BGR * 255 - mean; the others reflect at the border.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 3, 1),
                "2": _reflecting(3, 64),
                "5": _reflecting(64, 64),
                "9": _reflecting(64, 128),
                "12": _reflecting(128, 128),
                "16": _reflecting(128, 256),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of `x`, (B, 3, H, W) in [0, 1]."""
        x = self.layers["0"](x)
        for index in ("2", "5", "9", "12", "16"):
            x = torch.relu(self.layers[index](x))
            if index in ("5", "12"):
                x = nn.functional.max_pool2d(x, 2)
        return x


def _reflecting(before: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(before, channels, 3, padding=1, padding_mode="reflect")


NETWORKS = {"vgg11-bn": VGG11, "vgg19": VGG19}
"""The feature networks by the name that recipes use."""


def load_features(kind: str, path: Path) -> nn.Module:
    """Return the feature network `kind` with the weights of `path`, frozen and in evaluation mode.

    `path` is a torchvision `vgg11_bn` state dict (.pth) or, for vgg19, a safetensors file. Raises WeightsError for a
    file that is missing, unreadable or of another network.
    """
    network = NETWORKS[kind]()
    tensors = _read(path)
    if kind == "vgg11-bn":
        tensors = {name: value for name, value in tensors.items() if name.startswith("features.")}
    else:
        tensors = {f"layers.{name.removeprefix('features.')}": value for name, value in tensors.items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path} does not hold the weights of {kind} ({reason}); give its own file.") from error
    return network.requires_grad_(False).eval()


def downloaded_vgg11() -> Path:
    """Return torchvision's VGG-11-BN weights in torch's cache, fetched (507 MB) if they are not there yet.

    Raises WeightsError where that fails.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / VGG11_URL.rpartition("/")[2]
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        torch.hub.download_url_to_file(VGG11_URL, str(temporary), progress=False)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        if not digest.startswith(path.stem.rpartition("-")[2]):  # torch's file names end in the sum's first digits
            raise WeightsError(f"{VGG11_URL} arrived damaged (sha256 {digest[:8]}); try again.")
        temporary.replace(path)
    except OSError as error:
        raise WeightsError(f"{VGG11_URL} could not be fetched ({error}); copy the file to {path} yourself.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; give the file of the feature network's weights.") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable weights file; download or copy it again.") from error
