"""Learn what to take of each tensor of several F: a mean of theirs with shares of its own for every tensor.

    python research/scripts/blend.py DATA STEPS OUT.safetensors F.safetensors OTHER.safetensors...

Every tensor is that of the first F and, for each other one, a share of the way to that; so few numbers have little of
the noise that a training run's steps have. What is minimised is the loss of recipes/fast-f.toml and, with a small
weight, that of scenes out of focus (research/2026-11.md, 2026-11-29). DATA is the data folder. Needs the extra `train`.
"""

import copy
import dataclasses
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from golfdeblur.learning import checkpoint, losses, mixture, networks
from golfdeblur.learning.mixture import MixtureConfig
from golfdeblur.learning.recipe import Recipe, learning_rate, read_recipe
from golfdeblur.learning.run import commit
from golfdeblur.learning.sources import PhotoSource, load_sources

RECIPE = Path("recipes/fast-f.toml")
FILES = {
    "photos": "photos",
    "urban": "urban",
    "reds-sharp": "reds_train",
    "reds": "reds_train",
    "gopro-video": "gopro240.mp4",
    "gopro-sharp": "gopro_avg_train",
}
"""Of the recipe's sources, in DATA."""
REAL_WEIGHT = 0.12
"""Of the REDS pairs, and of the video: 0.06 and 0.07 in the recipe."""
FIRST_SHARE = 0.8
"""Of the ways to the others, all together, at the start."""
SOFT_WEIGHT = 0.015
SIDE_PX = 320
FOCUS, SOFT = 18, 4  # pairs of a step
SOFT_FLOOR = 1e-5  # added to the MSE of those out of focus: 50 dB, where the recipe's loss has 40
KEPT = 0.95  # of the averaged shares at every step
SEED = 104

STREAM = MixtureConfig(
    batch=FOCUS, patch_px=SIDE_PX, block_px=SIDE_PX, block_pairs=64, steps_per_block=40, blocks_kept=12, identity=0.05
)


def mixtures(folder: Path, recipe: Recipe) -> list[mixture.Mixture]:
    """Return what gives pairs in focus, and what gives those out of focus, half of which stand still."""
    loaded = load_sources(
        recipe.sources,
        {name: folder / file for name, file in FILES.items()},
        recipe.blur,
        block_px=recipe.mixture.block_px,
    )
    photos = [(source, weight) for source, weight in loaded if isinstance(source, PhotoSource)]
    real = [(source, REAL_WEIGHT) for source, _ in loaded if not isinstance(source, PhotoSource)]
    defocused = dataclasses.replace(recipe.blur, defocused=1.0)
    soft = dataclasses.replace(STREAM, batch=SOFT, block_pairs=32, identity=0.0, seed=SEED + 1000)
    device = torch.device("cpu")
    return [
        mixture.Mixture([*photos, *real], STREAM, device, seed=SEED),
        mixture.Mixture([(PhotoSource(x.photos, defocused), weight) for x, weight in photos], soft, device),
    ]


def blended(shares: Tensor, members: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weights by name; `shares` is (members - 1, tensors)."""
    first, *others = members
    return {
        name: tensor + sum(shares[i, n] * (other[name] - tensor) for i, other in enumerate(others))
        for n, (name, tensor) in enumerate(first.items())
    }


def loss(network: networks.Residual, weights: dict[str, Tensor], batches: list[mixture.Batch]) -> Tensor:
    """Return the recipe's loss of the pairs in focus and, with its weight, the mean log MSE of those out of focus."""
    y = torch.cat([batch.blurry for batch in batches]).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        residual = functional_call(network, weights, (y,))
    x, sharp = y + residual.float(), torch.cat([batch.sharp for batch in batches])
    soft = ((x[FOCUS:] - sharp[FOCUS:]) ** 2).mean((1, 2, 3)) + SOFT_FLOOR
    return losses.psnr(x[:FOCUS], sharp[:FOCUS]) + SOFT_WEIGHT * soft.log10().mean()


def main(folder: Path, steps: int, out: Path, files: list[Path]) -> None:
    """Write OUT with the shares in its history, beside where each of `files` comes from."""
    loaded = [checkpoint.load_network(file) for file in files]
    members = [network.state_dict() for network, _ in loaded]
    network = copy.deepcopy(loaded[0][0]).requires_grad_(False)
    began = time.monotonic()
    recipe = read_recipe(RECIPE, [f"mixture.patch_px={SIDE_PX}", f"mixture.block_px={SIDE_PX}", "blur.defocused=0"])
    sources = mixtures(folder, recipe)
    shares = torch.full((len(members) - 1, len(members[0])), FIRST_SHARE / (len(members) - 1), requires_grad=True)
    averaged = shares.detach().clone()
    config = Recipe(steps=steps, lr=0.015, lr_end=3e-4, warmup_steps=10, betas=(0.9, 0.99))
    optimiser = torch.optim.Adam([shares], betas=config.betas)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = learning_rate(config, step)
        found = loss(network, blended(shares, members), [source.batch(step) for source in sources])
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
        averaged.lerp_(shares.detach(), 1 - min(KEPT, (step + 1) / (step + 10)))
        if (step + 1) % 20 == 0:
            print(f"step {step + 1}  loss {float(found):.3f}  mean shares {averaged.mean(1).tolist()}", flush=True)
    network.load_state_dict(blended(averaged, members))
    lineages = [checkpoint.lineage(member, history) for member, history in loaded]
    history = {
        "commit": commit(),
        "recipe": dataclasses.asdict(recipe),  # for the pairs
        "steps": steps,
        "hours": (time.monotonic() - began) / 3600,
        "hardware": f"1 x {torch.get_num_threads()} CPU cores",
        "blended": [lineage[0]["sha256"] for lineage in lineages],
        "shares": [[round(share, 3) for share in row] for row in averaged.tolist()],
        "before": checkpoint.distinct(*lineages),
    }
    checkpoint.save_network(out, network, history)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
