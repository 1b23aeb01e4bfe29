"""Make a larger U-Net out of a trained one that computes exactly the same: first weights to train on from.

    python research/scripts/widen.py F.safetensors WIDTH,WIDTH,... BLOCKS,BLOCKS,... SCALES OUT.safetensors

New channels start as in a fresh network, but nothing reads them yet: every kernel's new inputs are 0. New blocks come
after a level's old ones, and their second convolution is 0. Needs the extra `train`.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from golfdeblur.learning import checkpoint, networks


def widen(
    narrow: networks.ResidualUNet, widths: tuple[int, ...], blocks: tuple[int, ...], scales: int
) -> networks.ResidualUNet:
    """Return a network of `widths`, `blocks` and `scales`, none smaller than in `narrow`, with the same outputs."""
    made = networks.ResidualUNet(widths, blocks, unshuffle=narrow.spec["unshuffle"], scales=scales)
    state, trained = made.state_dict(), narrow.state_dict()
    for name, new in state.items():
        if name not in trained:
            if ".second." in name:
                new.zero_()
            continue
        old = trained[name]
        if name.startswith("ups."):  # every channel is four, one for each pixel of a 2x2 cell
            _place(new.unflatten(0, (-1, 4)), old.unflatten(0, (-1, 4)), inputs=2)
        else:
            _place(new, old, inputs=1)
    made.load_state_dict(state)
    return made


def _place(new: Tensor, old: Tensor, *, inputs: int) -> None:
    """Write `old` into the corner of `new`; `inputs` is the axis of a kernel's input channels."""
    if new.ndim > inputs:
        new.narrow(inputs, old.shape[inputs], new.shape[inputs] - old.shape[inputs]).zero_()
    new[tuple(slice(n) for n in old.shape)] = old


def main(source: Path, widths: tuple[int, ...], blocks: tuple[int, ...], scales: int, out: Path) -> None:
    """Write OUT and check that it computes what SOURCE does."""
    network, history = checkpoint.load_network(source)
    assert isinstance(network, networks.ResidualUNet)
    torch.manual_seed(0)
    made = widen(network, widths, blocks, scales)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        print(f"greatest difference {(made(x) - network(x)).abs().max():.1e}")
    checkpoint.save_network(out, made, {"widened": True, "before": checkpoint.lineage(network, history)})


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


main(Path(sys.argv[1]), _numbers(sys.argv[2]), _numbers(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
