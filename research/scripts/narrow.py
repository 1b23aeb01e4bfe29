"""Make a narrower U-Net out of a trained one: fewer channels at the finest level, first weights to train on from.

    python research/scripts/narrow.py F.safetensors CHANNELS OUT.safetensors PAIRS...

The finest level's features are projected onto their strongest directions on the blurry images of the folders PAIRS; of
the hidden channels of its blocks those that matter most are kept, and the others are replaced by their best linear
prediction. All other levels stay as they are. Needs the extra `train`.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from golfdeblur.learning import checkpoint, data, networks

CROP_PX, IMAGES = 256, 24


def images(folders: list[Path]) -> Tensor:
    """Return the middles of some blurry images, (IMAGES, 3, CROP_PX, CROP_PX) in [0, 1]."""
    found = [blurry for folder in folders for blurry, _, _ in data.load_pairs(folder)]
    crops = []
    for blurry in found[:: max(1, len(found) // IMAGES)][:IMAGES]:
        top, left = ((n - CROP_PX) // 2 for n in blurry.shape[-2:])
        crops.append(blurry[:, top : top + CROP_PX, left : left + CROP_PX])
    return torch.stack(crops).float() / 255


def outputs(network: networks.ResidualUNet, modules: list[nn.Module], x: Tensor) -> list[Tensor]:
    """Return what each module makes of `x`, (channels, samples) each."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda _m, _i, out: seen.append(out.transpose(0, 1).flatten(1))) for m in modules]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return seen


def narrow(wide: networks.ResidualUNet, channels: int, x: Tensor) -> networks.ResidualUNet:
    """Return a network with `channels` at the finest level that computes nearly the same as `wide` on `x`."""
    blocks = {f"{side}.0.{i}": b for side in ("encoders", "decoders") for i, b in enumerate(getattr(wide, side)[0])}
    stream = torch.cat(outputs(wide, [wide.head, *blocks.values()], x), 1)
    basis = torch.linalg.eigh(stream @ stream.T / stream.shape[1]).eigenvectors.flip(1)[:, :channels]
    spec = wide.spec
    made = networks.ResidualUNet((channels, *spec["widths"][1:]), tuple(spec["blocks"]), unshuffle=spec["unshuffle"])
    old, new = wide.state_dict(), made.state_dict()
    new |= {name: value for name, value in old.items() if value.shape == new[name].shape}

    def into(weight: Tensor) -> Tensor:
        return torch.einsum("oihw,op->pihw", weight, basis)

    def out_of(weight: Tensor) -> Tensor:
        return torch.einsum("oihw,ip->ophw", weight, basis)

    new["head.weight"], new["head.bias"] = into(old["head.weight"]), old["head.bias"] @ basis
    new["downs.0.weight"], new["tail.0.weight"] = out_of(old["downs.0.weight"]), out_of(old["tail.0.weight"])
    up, bias = old["ups.0.0.weight"], old["ups.0.0.bias"]
    new["ups.0.0.weight"] = torch.einsum("ckihw,cp->pkihw", up.unflatten(0, (-1, 4)), basis).flatten(0, 1)
    new["ups.0.0.bias"] = torch.einsum("ck,cp->pk", bias.unflatten(0, (-1, 4)), basis).flatten()
    hidden = [out.relu() for out in outputs(wide, [block.first for block in blocks.values()], x)]
    for (name, block), seen in zip(blocks.items(), hidden, strict=True):
        matters = seen.std(1) * block.second.weight.square().sum((0, 2, 3)).sqrt()
        keep = matters.topk(channels).indices.sort().values
        drop = torch.tensor([i for i in range(len(seen)) if i not in keep.tolist()])
        known = torch.cat([seen[keep], torch.ones(1, seen.shape[1])])
        predict = torch.linalg.solve(known @ known.T, known @ seen[drop].T).detach()  # of the dropped, from the kept
        weight, bias = block.second.weight.detach(), block.second.bias.detach()
        second = weight[:, keep] + torch.einsum("odhw,kd->okhw", weight[:, drop], predict[:-1])
        bias = bias + torch.einsum("odhw,d->o", weight[:, drop], predict[-1])
        new[f"{name}.first.weight"] = out_of(block.first.weight.detach()[keep])
        new[f"{name}.first.bias"] = block.first.bias.detach()[keep]
        new[f"{name}.second.weight"], new[f"{name}.second.bias"] = into(second), bias @ basis
    made.load_state_dict(new)
    return made


def main(source: Path, channels: int, out: Path, folders: list[Path]) -> None:
    """Write OUT and say how far it is from SOURCE."""
    network, history = checkpoint.load_network(source)
    assert isinstance(network, networks.ResidualUNet)
    torch.manual_seed(0)
    x = images(folders)
    made = narrow(network, channels, x)
    with torch.no_grad():
        before, after = network(x), made(x)
    print(f"residual {before.square().mean().sqrt():.4f}, difference {(after - before).square().mean().sqrt():.4f}")
    checkpoint.save_network(out, made, {"narrowed": True, "before": checkpoint.lineage(network, history)})


main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), [Path(folder) for folder in sys.argv[4:]])
