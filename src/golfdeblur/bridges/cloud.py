"""Photos that lie where fsspec reaches: s3://, gs://, memory://, folders. Each result has a note beside it.

The note says from what and how the result was made, so a second run does only what is missing or changed. There is one
note for each photo and no list of all, so any number of processes may work on one folder.
"""

from __future__ import annotations

import json
import posixpath
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from golfdeblur.album import determines
from golfdeblur.errors import ConfigError, GolfError, ImageError
from golfdeblur.files import image
from golfdeblur.golf import STEPS
from golfdeblur.model import Model, check_strength

NOTES = ".golf"
"""The folder of the notes, inside of the results'."""

DONE = ("deblurred", "done before")
"""What the row of a photo says that did not fail."""


@dataclass(frozen=True)
class Job:
    """One photo and its result, as fsspec's URLs."""

    source: str
    target: str
    note: str


@dataclass(frozen=True)
class How:
    """What the result depends on beside the photo and the model."""

    steps: int = STEPS
    strength: float = 1.0

    def settings(self, model: Model) -> dict[str, Any]:
        """Return what a note records of it."""
        int8 = model.runtime.endswith("int8")
        return determines(model, self.steps, self_ensemble=False, strength=self.strength, keep_sharp=False, int8=int8)


def jobs_in(source: str, out: str) -> list[Job]:
    """List the images at any depth of the folder `source`, to be written to the same places in `out`.

    Raises ConfigError for a place that cannot be listed, that holds no images, or that is `out` itself.
    """
    try:
        files, root = _place(source)
        target, base = _place(out)
        found = sorted(str(path) for path in files.find(root))
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{_shown(source)} or {_shown(out)} cannot be reached ({_reason(error)}); check both."
        ) from error
    root, base = root.rstrip("/"), base.rstrip("/")
    if (files.protocol, root) == (target.protocol, base):
        raise ConfigError(f"The results of {_shown(source)} cannot go into itself; give another folder.")
    jobs: dict[str, Job] = {}
    for path in found:
        inside, suffix = path[len(root) :].lstrip("/"), posixpath.splitext(path)[1].lower()
        if suffix not in image.SUFFIXES or path.startswith(f"{base}/"):
            continue
        kept = image.WRITTEN_AS.get(image.SUFFIXES[suffix], posixpath.splitext(inside)[1])
        name = posixpath.splitext(inside)[0] + kept
        url = files.unstrip_protocol(path)
        job = Job(url, f"{out.rstrip('/')}/{name}", f"{out.rstrip('/')}/{NOTES}/{inside}.json")
        if jobs.setdefault(name, job) is not job:
            raise ConfigError(
                f"{_shown(jobs[name].source)} and {_shown(url)} would both be written to {name}; rename one."
            )
    if not jobs:
        raise ConfigError(f"{_shown(source)} holds no images; give a folder with JPEG, PNG, TIFF or WebP files.")
    return list(jobs.values())


def deblur(source: str, out: str, *, model: Model, how: How | None = None) -> Iterator[dict[str, Any]]:
    """Deblur the images of a folder into another, one after another, and yield a row for each (`deblur_one`)."""
    how = how or How()
    check_strength(how.strength)
    for job in jobs_in(source, out):
        yield deblur_one(model, job, how)


def deblur_one(model: Model, job: Job, how: How) -> dict[str, Any]:
    """Do one photo, and return its row: path, status and seconds.

    The status is one of DONE, or a sentence for a photo that failed, which ends no run.
    """
    started = time.perf_counter()
    try:
        status = _done(model, job, how)
    except (GolfError, OSError, MemoryError) as error:
        status = str(error) if isinstance(error, GolfError) else _reason(error)
    return {"path": _shown(job.source), "status": status, "seconds": round(time.perf_counter() - started, 3)}


def _done(model: Model, job: Job, how: How) -> str:
    (files, path), (target, out), (notes, note) = (_place(url) for url in (job.source, job.target, job.note))
    said, before = {"input": files.ukey(path), "settings": how.settings(model)}, _note(notes, note)
    if target.exists(out):
        if before is None:
            raise ImageError(f"{_shown(job.target)} exists already and is no result of ours; give another folder.")
        if before == said:
            return "done before"
    kind = image.SUFFIXES[posixpath.splitext(job.target)[1].lower()]
    made = model.deblur_bytes(files.cat_file(path), kind, steps=how.steps, strength=how.strength)
    _put(notes, note, b"{}")  # from here on whatever is there is ours, also if the run is killed
    _put(target, out, made)
    _put(notes, note, json.dumps(said).encode())
    return "deblurred"


def _place(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return who reaches a URL, and the path there; other processes write there, too, so no listing is remembered."""
    return url_to_fs(url, use_listings_cache=False)


def _note(files: fsspec.AbstractFileSystem, path: str) -> Any:
    try:
        return json.loads(files.cat_file(path))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _put(files: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file that appears whole or not at all: stores of objects do so, in folders it is renamed."""
    files.makedirs(posixpath.dirname(path), exist_ok=True)
    if "file" not in files.protocol:
        files.pipe_file(path, content)
        return
    from pathlib import Path

    from golfdeblur.files import atomic

    atomic.write(Path(path), content)


def _shown(url: str) -> str:
    """Return a URL without the name and password that some have."""
    return re.sub(r"//[^/@]*@", "//", url)


def _reason(error: BaseException) -> str:
    return _shown(" ".join(str(error).split())[:200]) or type(error).__name__
