"""Average two F weight by weight, such as the ends of a run and of the run that went on from it.

    python research/scripts/mean.py F.safetensors OTHER.safetensors SHARE OUT.safetensors

SHARE, in [0, 1], is that of the second (research/2026-11.md, 2026-11-25, evening).
"""

import sys
from pathlib import Path

from golfdeblur.learning import checkpoint


def main(first: Path, second: Path, share: float, out: Path) -> None:
    """Write the mean with the history of the second, and the first one's among the runs it came from."""
    start, of_first = checkpoint.load_network(first)
    network, history = checkpoint.load_network(second)
    weights = start.state_dict()
    lineage = checkpoint.lineage(start, of_first)
    history["averaged"] = {"with": lineage[0]["sha256"], "share": share}
    history["before"] = checkpoint.distinct(history.get("before", []), lineage)
    network.load_state_dict({k: (1 - share) * weights[k] + share * v for k, v in network.state_dict().items()})
    checkpoint.save_network(out, network, history)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
