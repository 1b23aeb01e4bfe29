"""The command `golf`. Only this package prints and exits; every user's error becomes one sentence and exit code 1."""

from golfdeblur.cli import (  # noqa: F401 (their commands join the application)
    bench,
    cloud,
    data,
    deblur,
    evaluate,
    experiment,
    models,
    train,
    video,
    web,
)
from golfdeblur.cli.app import main

__all__ = ["main"]
