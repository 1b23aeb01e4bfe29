"""`golf cloud`: a folder of photos where fsspec reaches, also by many machines."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import ModelOption, QuietOption, StepsOption, StrengthOption, app, needs_extra
from golfdeblur.errors import GolfError
from golfdeblur.golf import STEPS


@app.command("cloud")
def cloud_command(
    source: Annotated[str, typer.Argument(help="The folder of the photos: s3://BUCKET/in, gs://..., or a path.")],
    out: Annotated[str, typer.Argument(help="The folder for the results, the same way.")],
    model: ModelOption = DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    strength: StrengthOption = 1.0,
    ray: Annotated[
        str | None, typer.Option(help="Share the work out by Ray (extra `ray`): a cluster's address, auto or local.")
    ] = None,
    actors: Annotated[int, typer.Option(min=1, help="With --ray: so many hold the model and work.")] = 1,
    gpus: Annotated[float, typer.Option(min=0.0, help="With --ray: each takes so many graphics cards.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each photo.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Deblur a folder of photos that lies in a cloud (needs the extra `cloud`, and fsspec's package for the place).

    A second run does what is missing or changed: beside the results lies a note for each photo.
    """
    with needs_extra("cloud"):
        from golfdeblur.bridges import cloud
    how = cloud.How(steps, strength)
    if ray is None:
        from golfdeblur.model import load

        rows = cloud.deblur(source, out, model=load(model), how=how)
    else:
        with needs_extra("ray"):
            from golfdeblur.bridges import ray as cluster
        cluster.connect(ray)
        rows = cluster.deblur(source, out, model=model, how=how, actors=actors, gpus=gpus)
    failed = 0
    for row in rows:
        is_done = row["status"] in cloud.DONE
        failed += not is_done
        if as_json:
            print(json.dumps(row), flush=True)
        elif not is_done:
            print(f"golf: {row['path']}: {row['status']}", file=sys.stderr)
        elif not quiet:
            print(f"{row['path']}  {row['status']}, {row['seconds']:.1f} s", flush=True)
    if failed:
        raise GolfError(f"{failed} photos failed, as named above; the others are done.")
