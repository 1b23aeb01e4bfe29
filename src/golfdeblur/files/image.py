"""Image files: read into a `Picture` (decode.py), written from one (encode.py).

Outputs are written under a temporary name and renamed, so a file under its final name is always whole.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import shutil
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


def read(path: str | Path, *, max_pixels: int = LARGEST_PIXELS) -> Picture:
    """Read an image file, turned upright by its EXIF orientation.

    Raises ImageError for a missing, empty, truncated or unsupported file, one of more pixels than allowed, and one that
    is written to meanwhile.
    """
    path = Path(path)

    def check_size(size: tuple[int, int]) -> None:
        if size[0] * size[1] > max_pixels:
            raise ImageError(
                f"{path} has too many pixels ({size[0]} x {size[1]} = {size[0] * size[1]:,}); "
                f"at most {max_pixels:,} are allowed: reduce it, or allow more by --max-pixels (max_pixels=)."
            )

    with _readable(path) as file:
        before = os.fstat(file.fileno())
        picture = decode(path, file, check_size)
        file.seek(0)
        digest = file_digest(file)
        if (after := os.fstat(file.fileno())).st_mtime_ns != before.st_mtime_ns or after.st_size != before.st_size:
            raise ImageError(f"{path} changed while it was read; try again when it is complete.")
        return replace(picture, keep=replace(picture.keep, sha256=digest))


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
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give an image file.")
        if not path.exists():
            raise ImageError(f"{path} does not exist; check the name.")
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes); copy it again from where it came.")
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is said otherwise
            yield file
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


def check_writable(path: Path, *, force: bool) -> None:
    """Raise ImageError unless `path` can be written: a known suffix, an existing folder, nothing there or `force`."""
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


def write(picture: Picture, path: str | Path, *, force: bool = False) -> list[str]:
    """Write `picture` in the format that the suffix of `path` names; a file that is there stays, unless `force`.

    A format that cannot hold 16 bits, alpha or something beside the pixels gets what it can hold; in words is returned
    what was left out. Raises ImageError if it cannot be written; then nothing is left behind.
    """
    path = Path(path)
    notes: list[str] = []
    _write_whole(path, lambda file: notes.extend(encode(picture, file, SUFFIXES[path.suffix.lower()])), force=force)
    return list(dict.fromkeys((*picture.keep.left_out, *notes)))


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
        with atomic.replacing(path) as file:
            fill(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path} cannot be written ({reason}); free some space or choose another place.") from error
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # encoders raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{path} cannot be written ({reason}); choose another format.") from error
