"""Print how many pairs a second one core cuts, and how many it makes: what a GPU is left with, and what it takes over.

    python research/scripts/cutting.py RECIPE NAME=PATH...

with the sources of the recipe as for --data. Needs the extra `train`.
"""

import dataclasses
import sys
import time
from pathlib import Path

import torch

from golfdeblur.learning import mixture, recipe, sources

BLOCKS = 3


def main(file: Path, paths: dict[str, Path]) -> None:
    """Cut and make three blocks of the recipe's number of pairs."""
    torch.set_num_threads(1)
    read = recipe.read_recipe(file, [])
    loaded = sources.load_sources(read.sources, paths, read.blur, block_px=read.mixture.block_px)
    whole = mixture.Mixture(loaded, dataclasses.replace(read.mixture, streams=1), torch.device("cpu"))
    for number in range(BLOCKS):
        started = time.perf_counter()
        whole.cut(number, 0)
        cut = time.perf_counter()
        whole.block(number)
        cutting, all_of_it = cut - started, time.perf_counter() - cut
        pairs = read.mixture.block_pairs
        print(f"{pairs} pairs: cut at {pairs / cutting:.0f} a second, made at {pairs / all_of_it:.1f} a second")


if __name__ == "__main__":
    main(Path(sys.argv[1]), {name: Path(path) for name, path in (text.split("=", 1) for text in sys.argv[2:])})
