"""A whole model as one module of torch, and its tensors as one file that says itself what it is."""

from __future__ import annotations

import json

from safetensors.torch import save
from torch import Tensor, nn

from golfdeblur.errors import ConfigError, WeightsError
from golfdeblur.golf import STEPS, STOP_BELOW, check_steps
from golfdeblur.learning import checkpoint, golf, networks
from golfdeblur.weights import Weights

SPEC = checkpoint.SPEC


class Whole(nn.Module):
    """F and the strokes of G, for images of any size; its output is clipped, as the command's is."""

    def __init__(self, f: dict, g: dict | None = None, steps: int = STEPS) -> None:
        """Make it untrained of the networks' specs (`learning.networks.build`); `steps` are the corrections."""
        super().__init__()
        check_steps(steps)
        self.f = golf.Propagator(networks.build(f))
        self.g = None if g is None else golf.Corrector(networks.build(g))
        self.steps = steps

    def forward(self, y: Tensor) -> Tensor:
        """Return the deblurred `y`, (B, 3, H, W) in [0, 1], in the same shape; a batch settles as one."""
        x = any_size(self.f, y)
        for _ in range(self.steps if self.g is not None else 0):
            assert self.g is not None
            before, x = x, any_size(self.g, x)
            if (x - before).abs().mean() < STOP_BELOW:
                break
        return x.clamp(0, 1)


def whole_of(weights: Weights, *, steps: int = STEPS) -> Whole:
    """Return the module of a model on disk, ready to run. Raises WeightsError for weights that are damaged."""
    specs = [None if file is None else file.spec for file in (weights.f, weights.g)]
    made = Whole(specs[0] or {}, specs[1], steps)
    for letter, file in weights.networks.items():
        wrapped = made.f if letter == "F" else made.g
        assert wrapped is not None
        wrapped.residual = checkpoint.from_onnx(file.content(), file.spec)
    return made.eval()


def any_size(network: golf.Propagator | golf.Corrector, x: Tensor) -> Tensor:
    """Return F(x) or G(x) for any height and width."""
    height, width = x.shape[-2:]
    for axis in (-2, -1):
        x = networks.continued(x, axis, network.residual.multiple_px)
    return network(x)[..., :height, :width]


def to_tensors(weights: Weights, *, steps: int = STEPS) -> bytes:
    """Return a model as one safetensors file, its tensors named as in `Whole`, with what they are in a tensor, too."""
    made = whole_of(weights, steps=steps)
    spec = {"f": weights.f.spec, "g": None if weights.g is None else weights.g.spec, "steps": steps}
    return save({**made.state_dict(), SPEC: checkpoint.spec_tensor(spec)})


def from_tensors(tensors: dict[str, Tensor]) -> Whole:
    """Return the model of the tensors of `to_tensors`, or of a trained F.safetensors alone.

    Raises WeightsError for tensors that do not say what they are, or are others than they say.
    """
    try:
        spec = json.loads(bytes(tensors[SPEC].tolist()))
        given = {name: value for name, value in tensors.items() if name != SPEC}
        if "network" in spec:
            spec = {"f": spec, "g": None, "steps": 0}
            given = {f"f.residual.{name}": value for name, value in given.items()}
        made = Whole(spec["f"], spec["g"], spec["steps"])
        made.load_state_dict(given)
    except (KeyError, ValueError, TypeError, RuntimeError, ConfigError) as error:
        raise WeightsError(f"These tensors are no model of golfdeblur ({error}); export it again.") from error
    return made.eval()
