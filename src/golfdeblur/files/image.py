"""Image files: read into a `Picture`, written from one (encode.py).

Outputs are written under a temporary name and renamed, so a file under its final name is always whole.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import shutil
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from golfdeblur.errors import DataError, ImageError
from golfdeblur.files import atomic, chunks, deep, metadata
from golfdeblur.files.encode import encode
from golfdeblur.files.picture import Picture, from_opened, from_samples, turn

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

_OPENING = threading.Lock()


def read(path: str | Path, *, largest_pixels: int = LARGEST_PIXELS) -> Picture:
    """Read an image file, turned upright by its EXIF orientation.

    Raises ImageError for a missing, empty, truncated or unsupported file, and one of more pixels than allowed.

    Examples:
        >>> picture = read("examples/walkway.jpg")
        >>> picture.size, picture.layout, picture.bits
        ((960, 720), 'RGB', 8)
    """
    path = Path(path)

    def check_size(size: tuple[int, int]) -> None:
        if size[0] * size[1] > largest_pixels:
            raise ImageError(
                f"{path} has too many pixels ({size[0]} x {size[1]} = {size[0] * size[1]:,}); "
                f"at most {largest_pixels:,} are allowed: reduce it, or allow more by --max-pixels."
            )

    with _readable(path) as head:
        if head[:8] == chunks.SIGNATURE:
            return _read_png(path.read_bytes(), of_16_bits=deep.is_png16(head), check_size=check_size)
        page = 0
        if deep.is_tiff(head):
            if (found := deep.read_tiff16(path, check_size)) is not None:
                return found
            page = deep.main_page(path)
        formats = _formats(path, head)
        with _open(path, check_size, formats) as opened:
            opened.seek(page)
            check_size(opened.size)
            opened.load()
            keep, orientation = metadata.collect(opened)
            return from_opened(opened, _more(keep, path, head, opened), orientation)


def _more(keep: metadata.Keepsakes, path: Path, head: bytes, opened: Image.Image) -> metadata.Keepsakes:
    """Add what Pillow does not tell: whether a WebP is without loss, which colours an AVIF has."""
    if opened.format == "WEBP":
        return replace(keep, lossless=_is_lossless(path))
    if opened.format == "AVIF" and keep.icc_profile is None and (numbers := metadata.nclx(path)) is not None:
        notes = list(keep.left_out)
        profile = metadata.of_numbers(numbers["color_primaries"], numbers["transfer_characteristics"], notes)
        return replace(keep, icc_profile=profile, left_out=tuple(notes))
    if opened.mode == "RGBX":
        return replace(keep, left_out=(*keep.left_out, "the extra channel, whose meaning it does not say"))
    return keep


def _is_lossless(path: Path) -> bool:
    """Tell whether the first picture of a WebP is stored without loss."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = header[:4], int.from_bytes(header[4:], "little")
            if name in (b"VP8L", b"VP8 "):
                return name == b"VP8L"
            file.seek(16 if name == b"ANMF" else size + size % 2, 1)
    return False


def _read_png(content: bytes, *, of_16_bits: bool, check_size: Callable[[tuple[int, int]], None]) -> Picture:
    found = chunks.split(content)
    with _open(io.BytesIO(found.pixels), check_size, ["PNG"]) as opened:
        grey = opened.mode in ("1", "L", "LA", "I", "I;16")
        if not of_16_bits:
            opened.load()
        keep, orientation = metadata.of_png(*metadata.collect(opened), found, grey=grey)
        if not of_16_bits:
            return from_opened(opened, keep, orientation)
    return from_samples(turn(deep.png16_samples(found.pixels), orientation), keep)


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
def _readable(path: Path) -> Iterator[bytes]:
    """Yield the file's first bytes, and turn every failure inside into one ImageError."""
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give an image file.")
        if not path.exists():
            raise ImageError(f"{path} does not exist; check the name.")
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes); copy it again from where it came.")
        with path.open("rb") as file:
            head = file.read(64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is said otherwise
            yield head
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


def _formats(path: Path, head: bytes) -> list[str] | None:
    """Return which of Pillow's readers to ask, where the first bytes say it; teach it HEIF where they are of one.

    Raises ImageError without the extra for HEIF.
    """
    if head[4:8] != b"ftyp":
        return None
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 64)]
    if b"avif" in brands or b"avis" in brands:
        return ["AVIF"]
    if not any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")):
        return None
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(f"{path} is HEIC; pip install 'golfdeblur[heic]', or save it as JPEG.") from error
    pillow_heif.register_heif_opener()
    return ["HEIF"]


def _open(file: Any, check_size: Callable[[tuple[int, int]], None], formats: list[str] | None) -> Image.Image:
    """Open an image with our limit of its size in place of Pillow's, which warns at a third and refuses at twice."""
    with _OPENING:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            opened = Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = theirs
    check_size(opened.size)
    return opened


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
    return [*picture.keep.left_out, *notes]


def copy(source: Path, path: Path, *, force: bool = False) -> None:
    """Copy an image file as it is, as safely as `write` writes. Raises ImageError."""

    def fill(file: Any) -> None:
        with source.open("rb") as given:
            shutil.copyfileobj(given, file)

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
    except MemoryError:
        raise
    except Exception as error:  # encoders raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{path} cannot be written ({reason}); choose another format.") from error
