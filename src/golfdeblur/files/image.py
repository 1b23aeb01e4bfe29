"""Image files: read into a `Picture`, written from one.

Pillow reads and writes everything but 16-bit colour (deep.py). Outputs are written under a temporary name and
renamed, so a file under its final name is always whole.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import png
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from golfdeblur.errors import DataError, ImageError
from golfdeblur.files import atomic, deep
from golfdeblur.files.picture import Keepsakes, Layout, Picture, from_pil, to_pil

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""What can be read, by the end of the file's name."""

WRITTEN_AS = {"GIF": ".png", "HEIF": ".jpg"}
"""What cannot be written, and what is written instead. HEIF needs the extra `heic` to be read."""

JPEG_QUALITY = 95

LARGEST_JPEG_XMP = 65_504
"""Bytes that fit into one segment beside its name; longer XMP is left out."""


def read(path: str | Path) -> Picture:
    """Read an image file, turned upright by its EXIF orientation.

    Raises ImageError for a missing, empty, truncated, huge or unsupported file.
    """
    path = Path(path)
    with _readable(path) as file:
        if path.suffix.lower() in (".tif", ".tiff") and (found := deep.read_tiff16(path)) is not None:
            return found
        if deep.is_png16(file):
            return deep.read_png16(path)
        _know_heif(path, file)
        return from_pil(_open(path))


def read_ahead(paths: Iterable[Path]) -> Iterator[Callable[[], Picture]]:
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
        yield head
    except ImageError as error:
        if str(error).startswith(str(path)):
            raise
        raise ImageError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read; give a JPEG, PNG, TIFF, WebP, BMP, PPM or GIF file."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has too many pixels ({error}); at most {deep.LARGEST_PIXELS:,} are allowed."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; reduce it or close other programs.") from error
    except (OSError, SyntaxError, ValueError, LookupError, EOFError, struct.error, zlib.error, png.Error) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{path} cannot be read ({reason}); it may be damaged: copy it again.") from error


def _know_heif(path: Path, head: bytes) -> None:
    """Teach Pillow to read HEIF where `head`, a file's first bytes, are of one. Raises ImageError without the extra."""
    if head[4:8] != b"ftyp" or head[8:12] not in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"):
        return
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(f"{path} is HEIC; pip install 'golfdeblur[heic]', or save it as JPEG.") from error
    pillow_heif.register_heif_opener()


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns at a third of its limit and refuses at twice; one limit of our own is clearer.
        warnings.simplefilter("ignore")
        picture = Image.open(path)
        deep.check_size(picture.size)
        picture.load()
    return picture


def check_writable(path: Path, *, force: bool) -> None:
    """Raise ImageError unless `path` can be written: a known suffix, an existing folder, nothing there or `force`."""
    if SUFFIXES.get(path.suffix.lower(), "GIF") in WRITTEN_AS:
        raise ImageError(f"{path} must end in .jpg, .png, .tif, .webp, .bmp or .ppm; give such a name.")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give the name of a file, or use --out-dir.")
    if not path.parent.is_dir():
        raise ImageError(f"The folder {path.parent} does not exist; make it first.")
    if path.exists() and not force:
        raise ImageError(f"{path} exists already; use --force to replace it, or give another name.")


def write(picture: Picture, path: str | Path, *, force: bool = False) -> None:
    """Write `picture` in the format that the suffix of `path` names; a file that is there stays, unless `force`.

    A format that cannot hold 16 bits or alpha gets what it can hold. Raises ImageError if it cannot be written; then
    nothing is left behind.
    """
    path = Path(path)
    _write_whole(path, lambda file: _encode(picture, file, SUFFIXES[path.suffix.lower()]), force=force)


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
    except (OSError, ValueError, png.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{path} cannot be written ({reason}); free some space or choose another place.") from error


def _encode(picture: Picture, file: Any, kind: str) -> None:
    deep_colour = picture.bits == 16 and (picture.layout == "RGB" or picture.alpha is not None)
    if picture.bits == 16 and kind == "TIFF":
        deep.write_tiff16(picture, file)
        return
    if deep_colour and kind == "PNG":
        deep.write_png16(picture, file)
        return
    if picture.bits == 16 and kind != "PNG":
        picture = picture.in_8_bits()
    out = to_pil(picture)
    if kind == "JPEG" and picture.alpha is not None:
        out = out.convert(picture.layout)
    keep = picture.keep
    options: dict[str, Any] = {}
    if keep.exif and kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        options["exif"] = keep.exif
    if keep.xmp:
        options |= _xmp_options(keep, kind)
    if keep.icc_profile and kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        options["icc_profile"] = keep.icc_profile
    if keep.dpi and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        options["dpi"] = keep.dpi
    if kind == "JPEG":
        options |= _jpeg_options(keep, picture.layout)
    elif kind == "WEBP":
        options |= {"quality": JPEG_QUALITY, "method": 4}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    out.save(file, kind, **options)


def _xmp_options(keep: Keepsakes, kind: str) -> dict[str, Any]:
    assert keep.xmp is not None
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt(deep.PNG_XMP, keep.xmp.decode(errors="replace"))
        return {"pnginfo": texts}
    if kind == "TIFF":
        tags = Image.Exif()
        if keep.exif:
            tags.load(keep.exif)
        tags[deep.XMP_TAG] = keep.xmp
        return {"exif": tags}
    if kind == "WEBP" or (kind == "JPEG" and len(keep.xmp) <= LARGEST_JPEG_XMP):
        return {"xmp": keep.xmp}
    return {}


def _jpeg_options(keep: Keepsakes, layout: Layout) -> dict[str, Any]:
    """Take the input's quantisation tables where they are finer than ours, entry by entry, and its subsampling."""
    ours = _tables(JPEG_QUALITY)
    theirs = keep.quantisation or {}
    finest = [
        [min(a, b) for a, b in zip(ours[i], theirs.get(i, ours[i]), strict=True)]
        for i in range(1 if layout == "L" else 2)
    ]
    sampling = keep.subsampling if keep.subsampling is not None else 0
    return {"qtables": finest, "subsampling": sampling, "optimize": True}


def _tables(quality: int) -> dict[int, list[int]]:
    """Return the quantisation tables that the encoder uses for `quality`."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    return dict(Image.open(buffer).quantization)  # type: ignore[attr-defined]
