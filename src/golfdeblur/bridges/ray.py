"""Many photos on many machines by Ray Data: actors that hold the model read, deblur and write by fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ray
import ray.data

from golfdeblur import DEFAULT_MODEL
from golfdeblur.bridges.cloud import How, Job, deblur_one, jobs_in
from golfdeblur.errors import ConfigError
from golfdeblur.model import check_strength, load

MOST_BLOCKS = 1000
"""Into so many parts the photos go: what a killed worker held is done again as a whole part."""


class Deblurrer:
    """An actor: it loads the model once and does photo after photo."""

    def __init__(self, model: str, how: How) -> None:
        self.model, self.how = load(model), how

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row of one photo (`cloud.deblur_one`)."""
        return deblur_one(self.model, Job(row["source"], row["target"], row["note"]), self.how)


def connect(address: str) -> None:
    """Start Ray on this machine for "local", or join a running cluster. Raises ConfigError where there is none."""
    try:
        ray.init(address=None if address == "local" else address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"No Ray cluster is at '{address}'; start one, or give --ray local.") from error


def deblur(
    source: str,
    out: str,
    *,
    model: str = DEFAULT_MODEL,
    how: How | None = None,
    actors: int = 1,
    gpus: float = 0,
) -> Iterator[dict[str, Any]]:
    """Deblur the images of a folder into another, both as fsspec's URLs, and yield a row for each photo.

    Ray must be running (`ray.init`), or starts on this machine. Each of `actors` takes one core, or a share of `gpus`.
    What a killed worker held is done again elsewhere, and a second call does only what is missing or changed. Raises
    ConfigError for places that cannot be listed.
    """
    how = how or How()
    check_strength(how.strength)
    jobs = [asdict(job) for job in jobs_in(source, out)]
    rows = ray.data.from_items(jobs, override_num_blocks=min(len(jobs), MOST_BLOCKS)).map(
        Deblurrer,
        fn_constructor_args=(model, how),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=None if gpus else 1,
        num_gpus=gpus or None,
    )
    yield from rows.iter_rows()
