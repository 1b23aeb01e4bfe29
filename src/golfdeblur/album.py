"""A folder of photos: what is in it, where the results go, and a manifest of what is done.

The manifest, one JSON line for each result in the output folder, makes a second run do only what is missing or changed.
Lines are appended whole, so several processes may write to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfdeblur.errors import ConfigError, ImageError
from golfdeblur.files import image
from golfdeblur.files.names import output_suffix
from golfdeblur.model import Model

MANIFEST = "golf-manifest.jsonl"

RAW_SUFFIXES = {".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw"}


@dataclass(frozen=True)
class Job:
    """One photo and its result."""

    source: Path
    target: Path
    name: str
    """The source's path inside its folder."""


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    jobs: list[Job]
    skipped: int
    """Files that are no images by their names."""
    refused: list[str]
    """A sentence for every image that cannot be done."""


def jobs_in(folder: Path, out: Path, *, wanted: str = "keep") -> Found:
    """List the images at any depth of `folder`, to be written to the same places in `out`, as one of names.FORMATS.

    Hidden files are left out, and so are `out` where it lies inside and the results of earlier runs. Refused are camera
    RAW, of images that would be written to one file all but the first, those whose result would lie among the images,
    and folders that are links or cannot be read. Raises ConfigError where `out` is `folder`.
    """
    images, results = folder.resolve(), out.resolve()
    if results == images:
        raise ConfigError(f"The results of {folder} cannot go into itself; give another --out-dir.")
    jobs: list[Job] = []
    refused: list[str] = []
    skipped = 0
    taken: dict[Path, Path] = {}
    out_is_inside = images in results.parents
    earlier = _earlier_results(folder)
    for path in sorted(_files_in(folder, refused)):
        inside = path.relative_to(folder)
        if path in earlier or (out_is_inside and results in path.resolve().parents):
            continue
        suffix = path.suffix.lower()
        if is_raw(path):
            refused.append(raw_sentence(path))
        elif suffix not in image.SUFFIXES:
            skipped += 1
        else:
            target = out / inside.with_suffix(output_suffix(path, wanted))
            if images in target.resolve().parents and not out_is_inside:
                refused.append(f"{path} would be written to {target}, among its images; give another --out-dir.")
            elif (first := taken.setdefault(target, path)) is path:
                jobs.append(Job(path, target, inside.as_posix()))
            else:
                refused.append(f"{first} and {path} would both be written to {target}; rename the second.")
    return Found(jobs, skipped, refused)


def _files_in(folder: Path, refused: list[str]) -> Iterator[Path]:
    """Yield the files that are not hidden, at any depth, and add a sentence for what cannot be looked into."""

    def unreadable(error: OSError) -> None:
        refused.append(f"{error.filename} cannot be looked into ({error.strerror}); allow it to be read.")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place, name) for name in folders):
            if path.is_symlink():  # it may lead back here
                refused.append(f"{path} is a link to a folder, which is not followed; give that folder by itself.")
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file():
                yield path
            elif path.is_symlink():
                refused.append(f"{path} is a link to nothing; remove it or bring the file back.")


def is_raw(path: Path) -> bool:
    """Tell whether a file is camera RAW by its name."""
    return path.suffix.lower() in RAW_SUFFIXES


def raw_sentence(path: Path) -> str:
    """Say what to do with camera RAW."""
    return f"{path} is camera RAW, which is not read; develop it to TIFF or JPEG first."


def _earlier_results(folder: Path) -> set[Path]:
    """Return what the manifests below `folder` name as results of earlier runs."""
    found = set()
    for manifest in folder.rglob(f"*/{MANIFEST}"):
        found |= {manifest.parent / result for result in Manifest(manifest.parent, {}).entries()}
    return found


class Manifest:
    """What has been written to an output folder, from what and how."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.path = out / MANIFEST
        self.settings = settings
        """What a result depends on beside its input: the model's hashes and the number of steps."""

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the newest entry of each result, by its path in the folder; lines that a crash cut are left out."""
        found: dict[str, dict[str, Any]] = {}
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                entry = json.loads(line)
                name = Path(entry["name"])
                found[entry.get("result") or name.with_suffix(output_suffix(name)).as_posix()] = entry
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def entry(self, job: Job, entries: dict[str, dict[str, Any]] | None = None) -> dict[str, Any] | None:
        """Return what is known of the result of `job`, out of `entries` or as the manifest is now."""
        return (self.entries() if entries is None else entries).get(self._place(job))

    def is_done(self, job: Job, entry: dict[str, Any] | None) -> bool:
        """Tell whether the result that `entry` names is there, and of this input with these settings."""
        return (
            entry is not None
            and "output_sha256" in entry
            and entry["settings"] == self.settings
            and self.is_ours(job, entry)
            and _is(job.source, entry["input_sha256"])
        )

    def is_ours(self, job: Job, entry: dict[str, Any] | None) -> bool:
        """Tell whether the file at the target may be replaced: it is as `entry` recorded it, or was being written."""
        if entry is None or not job.target.is_file():
            return False
        return "output_sha256" not in entry or _is(job.target, entry["output_sha256"])

    def check_writable(self, job: Job, *, force: bool) -> None:
        """Raise ImageError unless the target can be written: nothing is there, what the manifest knows, or `force`.

        The manifest is read after the file is seen: another process names it there before it writes it.
        """
        try:
            image.check_writable(job.target, force=force)
        except ImageError:
            if not self.is_ours(job, self.entry(job)):
                raise

    def begin(self, job: Job) -> None:
        """Append that `job` is being written: nothing was at its target, or something of ours."""
        self._append({"name": job.name, "result": self._place(job)})

    def record(self, job: Job, report: dict[str, Any]) -> None:
        """Append the result of `job`; `report` has the hash of its input."""
        made = {"result": self._place(job), "output_sha256": file_hash(job.target)}
        self._append({"name": job.name, **made, "settings": self.settings, **report})

    def _place(self, job: Job) -> str:
        return job.target.relative_to(self.path.parent).as_posix()

    def _append(self, entry: dict[str, Any]) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(handle)


def determines(
    model: Model,
    steps: int,
    *,
    blur: dict[str, Any],
    self_ensemble: bool,
    strength: float,
    keep_sharp: bool,
    int8: bool,
) -> dict[str, Any]:
    """Return what determines the results of `model`; with `int8` its 8-bit networks compute them."""
    files = model.weights.networks.items()
    hashes = {letter: (file.int8_sha256 if int8 else "") or file.sha256 for letter, file in files}
    how = {"self_ensemble": self_ensemble, "strength": strength, "keep_sharp": keep_sharp}
    return {"networks": hashes, "steps": steps, **blur, **how}


def _is(path: Path, sha256: str) -> bool:
    """Tell whether a file can be read and is the one recorded."""
    try:
        return file_hash(path) == sha256
    except ImageError:
        return False


def file_hash(path: Path) -> str:
    """Return the sha256 of a file. Raises ImageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return image.file_digest(file)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}).") from error
