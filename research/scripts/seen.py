"""Does F learn its pairs by heart? Its gain on pairs that a run trains on, and on pairs made alike that it never saw.

    python research/scripts/seen.py RUN NAME=PATH...

RUN is a folder of `golf train` for stage f, finished or under way, with its sources as for --data. Seen pairs are of
the blocks that its last steps cut patches from, unseen ones of blocks far ahead. Needs the extra `train`.
"""

import io
import json
import sys
from pathlib import Path

import torch

from golfdeblur.learning import blur, mixture, networks, recipe, sources
from golfdeblur.learning.run import DIGEST_BYTES

AHEAD, PAIRS, LEVEL = 50, 400, 1e-4
"""Unseen blocks begin so many blocks after the last one; about so many pairs of either kind are taken; mean squares are
levelled at 40 dB, as in the loss."""


def read_config(run: Path) -> recipe.Recipe:
    """Return the recipe that config.json of `run` holds."""
    stored = json.loads((run / "config.json").read_text())["config"]

    def made(section: type, table: dict) -> object:
        return section(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})

    parts = {"mixture": made(mixture.MixtureConfig, stored["mixture"]), "blur": made(blur.BlurConfig, stored["blur"])}
    named = [made(sources.SourceConfig, source) for source in stored["sources"]]
    return made(recipe.Recipe, {**stored, **parts, "sources": tuple(named)})


def gains_db(network: networks.Residual, pairs: mixture.Batch) -> list[float]:
    """Return by how many decibels `network` betters each pair that is not sharp on both sides."""
    found = []
    for blurry, sharp in zip(pairs.blurry.float() / 255, pairs.sharp.float() / 255, strict=True):
        if torch.equal(blurry, sharp):
            continue
        with torch.no_grad():
            restored = blurry + network(blurry[None])[0]
        before, after = (((x - sharp) ** 2).mean() + LEVEL for x in (blurry, restored))
        found.append(float(10 * torch.log10(before / after)))
    return found


def main(run: Path, paths: dict[str, Path]) -> None:
    """Print the mean gains, their number and their standard errors."""
    read = read_config(run)
    state = torch.load(io.BytesIO((run / "last.pt").read_bytes()[DIGEST_BYTES:]), map_location="cpu")
    network = networks.build(networks.PRESETS[read.model].f)
    weights = {name.partition("residual.")[2]: value for name, value in state["averaged"].items()}
    network.load_state_dict({name: value for name, value in weights.items() if name})
    loaded = sources.load_sources(read.sources, paths, read.blur, block_px=read.mixture.block_px)
    made = mixture.Mixture(loaded, read.mixture, torch.device("cpu"), seed=read.seed)
    newest = state["step"] // read.mixture.steps_per_block
    kept = range(max(0, newest - read.mixture.blocks_kept + 1), newest)
    kept = kept[:: max(1, len(kept) * read.mixture.block_pairs // PAIRS)]
    for name, blocks in (("seen", kept), ("unseen", [number + AHEAD for number in kept])):
        streams = range(read.mixture.streams)
        gains = torch.tensor([g for b in blocks for s in streams for g in gains_db(network, made.block(b, s))])
        print(f"{name} {gains.mean():.2f} dB, {len(gains)} pairs, +- {gains.std() / len(gains) ** 0.5:.2f}", flush=True)


main(Path(sys.argv[1]), {name: Path(path) for name, _, path in (given.partition("=") for given in sys.argv[2:])})
