"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for what `path` shall hold; it takes that name after the block, when it is safely on disk.

    Whatever ends the block early leaves `path` as it was, and nothing beside it; what a killed process left there is
    removed. Raises OSError.
    """
    temporary, file = _new(path)
    try:
        with file:
            _sweep(path)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _new(path: Path) -> tuple[Path, BinaryIO]:
    """Create a hidden file beside `path` that no other process takes for left behind."""
    while True:
        temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
        file = temporary.open("xb")
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a network's folder may have no locks; nothing is swept there
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.name == "nt" or os.fstat(file.fileno()).st_nlink:  # it was not swept away before it was locked
            return temporary, file
        file.close()


def _sweep(path: Path) -> None:
    """Remove what processes that are no more have left behind of `path`: nobody holds it."""
    for left in path.parent.glob(f".{glob.escape(path.name[:40])}.*.part"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Raises OSError."""
    with replacing(path) as file:
        file.write(content)
