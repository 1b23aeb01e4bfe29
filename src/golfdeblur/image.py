"""Files and pictures: pixels in [0, 1], and what must survive: alpha, bit depth, EXIF, ICC profile, JPEG quality.

Pillow reads and writes everything but 16-bit colour, which it would reduce to 8 bits: that is left to tifffile and
pypng. Outputs are written under a temporary name and renamed, so a file under its final name is always whole.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import png
import tifffile
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from golfdeblur.errors import ImageError

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
}
"""What can be read, by the end of the file's name; all but GIF can be written."""

LARGEST_PIXELS = 300_000_000
"""A picture of more pixels than this is refused before it is decoded."""

ORIENTATION_TAG = 0x0112
JPEG_QUALITY = 95

Layout = Literal["L", "RGB"]


@dataclass(frozen=True)
class Keepsakes:
    """What a file says beside its pixels, to be written back."""

    format: str | None = None
    exif: bytes | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    quantisation: dict[int, list[int]] | None = None
    """The JPEG quantisation tables of the input."""
    subsampling: int | str | None = None


@dataclass(frozen=True)
class Picture:
    """An upright image: `pixels` (H, W, 3) float32 in [0, 1], and how it was stored."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    """(H, W) uint8 or uint16, never touched."""
    bits: int = 8
    layout: Layout = "RGB"
    keep: Keepsakes = field(default_factory=Keepsakes)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def with_pixels(self, pixels: np.ndarray) -> Picture:
        """Return the same picture with other pixels, (H, W, 3) in [0, 1]."""
        return replace(self, pixels=pixels)

    def samples(self) -> np.ndarray:
        """Return what is stored in a file: (H, W) or (H, W, C) uint8 or uint16, alpha last."""
        dtype, top = (np.uint16, 65535) if self.bits == 16 else (np.uint8, 255)
        colour = self.pixels.mean(axis=2, keepdims=True) if self.layout == "L" else self.pixels
        stored = np.clip(colour, 0, 1)
        stored = np.rint(stored * np.float32(top)).astype(dtype)
        if self.alpha is not None:
            stored = np.concatenate([stored, self.alpha[:, :, None].astype(dtype)], axis=2)
        return stored[:, :, 0] if stored.shape[2] == 1 else stored


def from_samples(samples: np.ndarray, keep: Keepsakes | None = None) -> Picture:
    """Make a picture of (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4) uint8 or uint16; 2 and 4 end in alpha.

    Raises ImageError for any other shape or type.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4) or 0 in samples.shape:
        raise ImageError(
            f"An array of shape {samples.shape} is no image; give (H, W) or (H, W, C) with 1, 2, 3 or 4 channels."
        )
    if samples.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"An array of {samples.dtype} is no image; give uint8 or uint16, or floats in [0, 1].")
    bits = 16 if samples.dtype == np.uint16 else 8
    channels = samples.shape[2]
    alpha = samples[:, :, -1].copy() if channels in (2, 4) else None
    colour = samples[:, :, : 1 if channels <= 2 else 3]
    layout: Layout = "L" if channels <= 2 else "RGB"
    pixels = colour.astype(np.float32) / np.float32(2**bits - 1)
    if layout == "L":
        pixels = np.repeat(pixels, 3, axis=2)
    return Picture(np.ascontiguousarray(pixels), alpha, bits, layout, keep or Keepsakes())


def from_pil(picture: Image.Image) -> Picture:
    """Make a picture of a Pillow image of any mode but 32-bit integer and float, turned upright.

    Raises ImageError for those two.
    """
    picture = _upright(picture)
    keep = _keepsakes(picture)
    if picture.mode in ("I", "F") or (picture.mode.startswith("I;16") is False and picture.mode in ("LAB", "HSV")):
        if picture.mode in ("LAB", "HSV"):
            return from_samples(np.asarray(picture.convert("RGB")), keep)
        raise ImageError(f"Pictures of mode '{picture.mode}' have no fixed range; convert to 8 or 16 bits per channel.")
    if picture.mode.startswith("I;16"):
        return from_samples(np.asarray(picture).astype(np.uint16), keep)
    if picture.mode == "CMYK":
        picture, keep = _cmyk_to_rgb(picture), replace(keep, icc_profile=None)
    transparent = "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA", "La")
    mode = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, transparent]
    if picture.mode == "La":
        picture = picture.convert("LA")
    return from_samples(np.asarray(picture.convert(mode)), keep)


def to_pil(picture: Picture) -> Image.Image:
    """Return a Pillow image of mode L, LA, RGB, RGBA or I;16. Colour of 16 bits comes back in 8, Pillow has no more."""
    if picture.bits == 16 and (picture.layout == "RGB" or picture.alpha is not None):
        alpha = None if picture.alpha is None else (picture.alpha >> 8).astype(np.uint8)
        picture = replace(picture, bits=8, alpha=alpha)
    out = Image.fromarray(picture.samples())
    if picture.keep.icc_profile:
        out.info["icc_profile"] = picture.keep.icc_profile
    if picture.keep.exif:
        out.info["exif"] = picture.keep.exif
    return out


def read(path: str | Path) -> Picture:
    """Read an image file, turned upright by its EXIF orientation.

    Raises ImageError for a missing, empty, truncated, huge or unsupported file.
    """
    path = Path(path)
    with _readable(path) as file:
        if path.suffix.lower() in (".tif", ".tiff") and (deep := _read_deep_tiff(path)) is not None:
            return deep
        if _is_deep_png(file):
            return _read_deep_png(path)
        return from_pil(_open(path))


def read_rgb8(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8, turned upright; alpha and depth are dropped. Raises ImageError."""
    path = Path(path)
    with _readable(path):
        return np.asarray(_upright(_open(path)).convert("RGB"))


def find(folder: Path) -> list[Path]:
    """List the image files at any depth of `folder`, sorted. Raises ImageError where there is no such folder."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder; give one with images.")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


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
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read; give a JPEG, PNG, TIFF, WebP, BMP, PPM or GIF file."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels ({error}); at most {LARGEST_PIXELS:,} are allowed.") from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; reduce it or close other programs.") from error
    except (OSError, SyntaxError, ValueError, struct.error, png.Error, EOFError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{path} cannot be read ({reason}); it may be damaged: copy it again.") from error


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns at a third of its limit and refuses at twice; one limit of our own is clearer.
        warnings.simplefilter("ignore")
        picture = Image.open(path)
        _check_size(picture.size)
        picture.load()
    return picture


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > LARGEST_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height} = {width * height:,}")


def _upright(picture: Image.Image) -> Image.Image:
    # exif_transpose copies, and resets the tag; an image that is upright already is left as it is.
    if picture.getexif().get(ORIENTATION_TAG, 1) == 1:
        return picture
    info, kind = picture.info, picture.format
    quantisation, sampling = getattr(picture, "quantization", None), _subsampling(picture)
    turned = ImageOps.exif_transpose(picture)
    turned.info = {**info, **turned.info}
    turned.format = kind
    turned.golf_jpeg = (quantisation, sampling)  # type: ignore[attr-defined]
    return turned


def _subsampling(picture: Image.Image) -> int | None:
    from PIL import JpegImagePlugin

    if picture.format not in ("JPEG", "MPO"):
        return None
    sampling = JpegImagePlugin.get_sampling(picture)
    return sampling if sampling >= 0 else None


def _keepsakes(picture: Image.Image) -> Keepsakes:
    exif = picture.getexif()
    if ORIENTATION_TAG in exif:
        exif[ORIENTATION_TAG] = 1
    quantisation, sampling = getattr(picture, "golf_jpeg", (getattr(picture, "quantization", None), None))
    if sampling is None:
        sampling = _subsampling(picture)
    dpi = picture.info.get("dpi")
    return Keepsakes(
        format="JPEG" if picture.format == "MPO" else picture.format,
        exif=exif.tobytes() if len(exif) else None,
        icc_profile=picture.info.get("icc_profile"),
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        quantisation=dict(quantisation) if quantisation else None,
        subsampling=sampling,
    )


def _cmyk_to_rgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return picture.convert("RGB")


def _is_deep_png(head: bytes) -> bool:
    # IHDR: bit depth at byte 24, colour type at 25 (0 grey, 2 RGB, 4 grey and alpha, 6 RGBA).
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) > 25 and head[24] == 16


def _read_deep_png(path: Path) -> Picture:
    with Image.open(path) as opened:  # for size, EXIF and profile only
        _check_size(opened.size)
        keep = _keepsakes(opened)
        orientation = opened.getexif().get(ORIENTATION_TAG, 1)
    width, height, rows, info = png.Reader(filename=str(path)).read()
    samples = np.empty((height, width, info["planes"]), np.uint16)
    for index, row in enumerate(rows):
        samples[index] = np.frombuffer(row, np.uint16).reshape(width, -1)
    return from_samples(_turn(samples, orientation), keep)


def _read_deep_tiff(path: Path) -> Picture | None:
    """Return a TIFF with 16 bits per channel, or None for one that Pillow reads without loss."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if not isinstance(page, tifffile.TiffPage) or page.dtype != np.uint16:
                return None
            if page.photometric not in (0, 1, 2):
                raise ImageError(f"{path} is a 16-bit TIFF in {page.photometric.name}; save it as RGB or greyscale.")
            _check_size((page.imagewidth, page.imagelength))
            samples = page.asarray()
            orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
            profile = page.tags["InterColorProfile"].value if "InterColorProfile" in page.tags else None
            planar, inverted = page.planarconfig == 2, page.photometric == 0
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    except (KeyError, ValueError) as error:
        if "imagecodecs" in str(error):
            raise ImageError(
                f"{path} is a 16-bit TIFF compressed in a way that needs imagecodecs; "
                "pip install 'golfdeblur[tiff]' or save it uncompressed."
            ) from error
        raise
    if planar and samples.ndim == 3:
        samples = samples.transpose(1, 2, 0)
    samples = 65535 - samples if inverted else samples
    if samples.ndim == 3:
        samples = samples[:, :, :4]
    with Image.open(path) as opened:
        keep = replace(_keepsakes(opened), format="TIFF")
    if profile is not None:
        keep = replace(keep, icc_profile=bytes(profile))
    return from_samples(_turn(np.ascontiguousarray(samples), int(orientation)), keep)


def _turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation 1 to 8 to (H, W, ...) samples."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def check_writable(path: Path, *, force: bool) -> None:
    """Raise ImageError unless `path` can be written: a known suffix, an existing folder, nothing there or `force`."""
    if SUFFIXES.get(path.suffix.lower()) in (None, "GIF"):
        raise ImageError(f"{path} ends in '{path.suffix}'; write .jpg, .png, .tif, .webp, .bmp or .ppm.")
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
    check_writable(path, force=force)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix + ".part", dir=path.parent)
        temporary = Path(name)
        os.fchmod(handle, 0o666 & ~_umask())
        with os.fdopen(handle, "wb") as file:
            _encode(picture, file, SUFFIXES[path.suffix.lower()])
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError, png.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{path} cannot be written ({reason}); free some space or choose another place.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _encode(picture: Picture, file: Any, kind: str) -> None:
    deep_colour = picture.bits == 16 and (picture.layout == "RGB" or picture.alpha is not None)
    if picture.bits == 16 and kind == "TIFF":
        _write_deep_tiff(picture, file)
        return
    if deep_colour and kind == "PNG":
        _write_deep_png(picture, file)
        return
    if picture.bits == 16 and kind != "PNG":
        picture = replace(picture, bits=8, alpha=None if picture.alpha is None else picture.alpha >> 8)
    out = to_pil(picture)
    if kind == "JPEG" and picture.alpha is not None:
        out = out.convert(picture.layout)
    keep = picture.keep
    options: dict[str, Any] = {}
    if keep.exif and kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        options["exif"] = keep.exif
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


def _write_deep_tiff(picture: Picture, file: Any) -> None:
    keep = picture.keep
    tifffile.imwrite(
        file,
        picture.samples(),
        photometric="minisblack" if picture.layout == "L" else "rgb",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=keep.icc_profile,
        resolution=keep.dpi,
        resolutionunit="inch" if keep.dpi else None,
        metadata=None,
    )


def _write_deep_png(picture: Picture, file: Any) -> None:
    """Write 16-bit colour, with profile and EXIF in the chunks that pypng does not write."""
    samples = picture.samples()
    width, height = picture.size
    writer = png.Writer(
        width, height, greyscale=picture.layout == "L", alpha=picture.alpha is not None, bitdepth=16, compression=6
    )
    buffer = io.BytesIO()
    writer.write_packed(buffer, (row.astype(">u2").tobytes() for row in samples))
    chunks = list(png.Reader(bytes=buffer.getvalue()).chunks())
    extra = []
    if picture.keep.icc_profile:
        import zlib

        extra.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.keep.icc_profile)))
    if picture.keep.exif:
        extra.append((b"eXIf", picture.keep.exif.removeprefix(b"Exif\0\0")))
    png.write_chunks(file, [chunks[0], *extra, *chunks[1:]])
