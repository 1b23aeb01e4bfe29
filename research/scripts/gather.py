"""Gather the results of `golf evaluate --json`, `golf bench --json` and sharp.py into one file, research/results.json.

    python research/scripts/gather.py build/results

What the folder lacks stays as it was.
"""

import json
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results.json"


def main(folder: Path) -> None:
    """Put every JSON file of `folder` under its name, one line for each image."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found |= {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    lines = [f" {json.dumps(name)}: {_one_line_each(result)}" for name, result in sorted(found.items())]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _one_line_each(result: dict) -> str:
    return json.dumps(result).replace('{"name"', '\n  {"name"')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
