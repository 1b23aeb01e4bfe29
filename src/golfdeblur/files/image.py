"""Image files: read into a `Picture` (decode.py), written from one (encode.py).

Outputs are written under a temporary name and renamed, so a file under its final name is always whole.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from golfdeblur.errors import DataError, ImageError
from golfdeblur.files import atomic
from golfdeblur.files.decode import decode
from golfdeblur.files.encode import encode
from golfdeblur.files.picture import Picture

SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".webp": "WEBP",
    ".avif": "AVIF",
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG2000"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tga": "TGA",
    **dict.fromkeys((".ppm", ".pgm", ".pnm"), "PPM"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
}
"""What can be read, by the end of the file's name."""

WRITTEN_AS = {"GIF": ".png", "HEIF": ".jpg"}
"""What cannot be written, and what is written instead. HEIF needs the extra `heic` to be read."""

LARGEST_PIXELS = 500_000_000
"""A picture of more pixels than this is refused before it is decoded, unless the caller allows more."""


STREAM = Path("-")
"""The standard input or output, where a path is asked for."""


def is_stream(path: Path) -> bool:
    """Tell whether a path is no file that can be read again or replaced: the standard input or output, or a pipe."""
    return path == STREAM or path.is_fifo() or path.is_char_device()


def check_local(path: Path) -> None:
    """Raise ImageError for an address on the web."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]", str(path)) and not path.exists():
        raise ImageError(f"{path} is an address; nothing is fetched here: download it, and give the file.")


def read(path: str | Path, *, max_pixels: int = LARGEST_PIXELS) -> Picture:
    """Read an image file, turned upright by its EXIF orientation.

    Raises ImageError for a missing, empty, truncated or unsupported file, one of more pixels than allowed, and one that
    is written to meanwhile.

    Examples:
        >>> picture = read("examples/walkway.jpg")
        >>> picture.size, picture.layout, picture.bits
        ((960, 720), 'RGB', 8)
    """
    path = Path(path)
    with _readable(path) as file:
        before = _state(file)
        picture = decode(path, file, at_most(max_pixels, path))
        file.seek(0)
        digest = file_digest(file)
        if _state(file) != before:
            raise ImageError(f"{path} changed while it was read; try again when it is complete.")
        return replace(picture, keep=replace(picture.keep, sha256=digest))


def at_most(max_pixels: int, path: Path) -> Callable[[tuple[int, int]], None]:
    """Return what raises an ImageError for a size in pixels that is larger."""

    def check_size(size: tuple[int, int]) -> None:
        if size[0] * size[1] > max_pixels:
            raise ImageError(
                f"{path} has too many pixels ({size[0]} x {size[1]} = {size[0] * size[1]:,}); "
                f"at most {max_pixels:,} are allowed: reduce it, or allow more by --max-pixels (max_pixels=)."
            )

    return check_size


def _state(file: Any) -> tuple[int, int]:
    """Return what differs when a file was written to meanwhile."""
    if isinstance(file, io.BytesIO):
        return (0, 0)
    found = os.fstat(file.fileno())
    return found.st_mtime_ns, found.st_size


def file_digest(file: Any) -> str:
    """Return the sha256 of an open file from where it stands."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_ahead(read: Callable[[Path], Picture], paths: Iterable[Path]) -> Iterator[Callable[[], Picture]]:
    """Yield for each path a function that returns its Picture, or raises its ImageError.

    The file after the one at hand is read in another thread meanwhile.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting: concurrent.futures.Future[Picture] | None = None
        for path in paths:
            coming = pool.submit(read, path)
            if waiting is not None:
                yield waiting.result
            waiting = coming
        if waiting is not None:
            yield waiting.result


def read_rgb8(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8, turned upright; alpha and depth are dropped. Raises ImageError."""
    colour = read(path).in_8_bits().colour
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def images_in(folder: Path) -> list[Path]:
    """List the image files at any depth of `folder`, sorted. Raises ImageError where there is no such folder."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder; give one with images.")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def find_pairs(folder: Path, *, blurry: str = "blur") -> list[tuple[str, Path, Path]]:
    """List (name, blurry, sharp): every folder at or below `folder` that holds `blurry`/ and sharp/ gives its pairs.

    GoPro's own tree has two kinds of blurry images: `blur` averages the frames' sRGB values, `blur_gamma` averages
    in linear light, as a camera does. Raises DataError for a folder without pairs and for files without a partner.
    """
    roots = [p.parent for p in sorted(folder.rglob("sharp")) if p.is_dir() and (p.parent / blurry).is_dir()]
    if not roots:
        raise DataError(
            f"{folder} holds no pairs; it needs the folders {blurry}/ and sharp/ with images of the same names."
        )
    found = []
    for root in roots:
        left = {p.relative_to(root / blurry): p for p in images_in(root / blurry)}
        right = {p.relative_to(root / "sharp"): p for p in images_in(root / "sharp")}
        lonely = sorted(str(root / name) for name in left.keys() ^ right.keys())
        if lonely:
            raise DataError(f"Without a partner in {blurry}/ or sharp/: {', '.join(lonely)}; add or remove them.")
        place = root.relative_to(folder)
        found += [((place / name).as_posix(), left[name], right[name]) for name in sorted(left)]
    if not found:
        raise DataError(f"The folders {blurry}/ and sharp/ of {folder} are empty; put images of the same names there.")
    return found


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """Yield the open file, and turn every failure inside into one ImageError."""
    with explained(path):
        check_local(path)
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give an image file.")
        if path != STREAM and not path.exists():
            raise ImageError(f"{path} does not exist; check the name.")
        with _opened(path) as file:
            yield file


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn every failure to read what is called `path` into one ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is said otherwise
            yield
    except ImageError as error:
        if str(error).startswith(str(path)):
            raise
        raise ImageError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read; give a JPEG, PNG, TIFF, WebP, AVIF, BMP, PPM or GIF file."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; reduce it or close other programs.") from error
    except Exception as error:  # decoders raise anything over damaged files
        reason = " ".join(str(error).rstrip(".").split())[:200] or type(error).__name__
        raise ImageError(f"{path} cannot be read ({reason}); it may be damaged: copy it again.") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, or what comes through a pipe, which is read to its end. Raises ImageError where that is nothing."""
    if is_stream(path):
        given: Any = io.BytesIO(sys.stdin.buffer.read() if path == STREAM else path.read_bytes())
    else:
        given = path.open("rb")
    with given as file:
        if not file.seek(0, io.SEEK_END):
            raise ImageError(f"{path} is empty (0 bytes); copy it again from where it came.")
        file.seek(0)
        yield file


def check_writable(path: Path, *, force: bool) -> None:
    """Raise ImageError unless `path` can be written: a known suffix, an existing folder, nothing there or `force`.

    A pipe is written to, whatever it is called; a terminal is not.
    """
    if path == STREAM and sys.stdout.isatty():
        raise ImageError("A picture is nothing for a terminal; give -o FILE, or send it into a pipe or file.")
    if is_stream(path):
        return
    if SUFFIXES.get(path.suffix.lower(), "GIF") in WRITTEN_AS:
        raise ImageError(
            f"{path} must end in .jpg, .png, .tif, .webp, .avif, .jp2, .bmp, .tga or .ppm; give such a name."
        )
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give the name of a file, or use --out-dir.")
    if not path.parent.is_dir():
        raise ImageError(f"The folder {path.parent} does not exist; make it first.")
    if path.exists() and not force:
        raise ImageError(f"{path} exists already; use --force to replace it, or give another name.")


def write(picture: Picture, path: str | Path, *, force: bool = False, kind: str | None = None) -> list[str]:
    """Write `picture` in the format that the suffix of `path` names; a file that is there stays, unless `force`.

    Into a pipe it goes as `kind`, one of the values of SUFFIXES, or else in its own format if that can be written.

    A format that cannot hold 16 bits, alpha or something beside the pixels gets what it can hold; in words is returned
    what was left out. Raises ImageError if it cannot be written; then nothing is left behind.
    """
    path = Path(path)
    notes: list[str] = []
    used = kind or own_kind(picture) if is_stream(path) else SUFFIXES.get(path.suffix.lower(), "GIF")
    _write_whole(path, lambda file: notes.extend(encode(picture, file, used)), force=force)
    return list(dict.fromkeys((*picture.keep.left_out, *notes)))


def own_kind(picture: Picture) -> str:
    """Return the format that `picture` came in, or what stands for it if that cannot be written."""
    own = picture.keep.format if picture.keep.format in SUFFIXES.values() else "GIF"
    return SUFFIXES[WRITTEN_AS[own]] if own in WRITTEN_AS else str(own)


def copy(source: Path, path: Path, *, sha256: str | None, force: bool = False) -> None:
    """Copy an image file that was read as it is, as safely as `write` writes. Raises ImageError, too if it changed."""

    def fill(file: Any) -> None:
        with source.open("rb") as given:
            shutil.copyfileobj(given, file)
            given.seek(0)
            if file_digest(given) != sha256:
                raise ImageError(f"{source} changed after it was read; try again when it is complete.")

    _write_whole(path, fill, force=force)


def _write_whole(path: Path, fill: Callable[[Any], None], *, force: bool) -> None:
    """Let `fill` write the file `path`, whole or not at all."""
    check_writable(path, force=force)
    try:
        if is_stream(path):
            buffer = io.BytesIO()
            fill(buffer)
            with contextlib.nullcontext(sys.stdout.buffer) if path == STREAM else path.open("wb") as out:
                out.write(buffer.getbuffer())
                out.flush()
            return
        with atomic.replacing(path) as file:
            fill(file)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path} cannot be written ({reason}); free some space or choose another place.") from error
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # encoders raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{path} cannot be written ({reason}); choose another format.") from error
