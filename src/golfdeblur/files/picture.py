"""The picture in memory: its colour, its alpha, and what must survive beside (`metadata.Keepsakes`)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from golfdeblur import bands
from golfdeblur.errors import ImageError
from golfdeblur.files.metadata import Keepsakes, collect

Layout = Literal["L", "RGB"]


@dataclass(frozen=True)
class Picture:
    """An upright image and how it was stored. The colour stays as it came, a byte a sample: large photos are large."""

    colour: np.ndarray
    """(H, W, 1) or (H, W, 3) of uint8, uint16, or float32 in [0, 1]."""
    alpha: np.ndarray | None = None
    """(H, W) of the same type, never touched."""
    keep: Keepsakes = field(default_factory=Keepsakes)

    @property
    def layout(self) -> Layout:
        """Grey or colour."""
        return "L" if self.colour.shape[2] == 1 else "RGB"

    @property
    def bits(self) -> int:
        """Bits of a sample in a file: 16, or 8 also for floats."""
        return 16 if self.colour.dtype == np.uint16 else 8

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.colour.shape[1], self.colour.shape[0]

    def rows(self, top: int, bottom: int, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return rows `top` to `bottom`, (1, 3, bottom - top, W) float32 in [0, 1] as networks take them; in `out`."""
        samples = self.colour[top:bottom]
        white = 1 if samples.dtype == np.float32 else np.iinfo(samples.dtype).max
        planes = np.broadcast_to(samples, (*samples.shape[:2], 3)).transpose(2, 0, 1)[None]
        return np.divide(planes, np.float32(white), out=np.empty(planes.shape, np.float32) if out is None else out)

    def repainted(self, blocks: Iterable[np.ndarray]) -> Picture:
        """Return the same picture with other colour, given as consecutive blocks of rows, (1, 3, h, W), any range."""
        colour, top = np.empty_like(self.colour), 0
        for block in blocks:
            _paint(block[0], out=colour[top : top + block.shape[2]])
            top += block.shape[2]
        return replace(self, colour=colour)

    def samples(self) -> np.ndarray:
        """Return what is stored in a file: (H, W) or (H, W, C) uint8 or uint16, alpha last."""
        picture = self.in_8_bits() if self.colour.dtype == np.float32 else self
        stored = picture.colour
        if picture.alpha is not None:
            stored = np.concatenate([stored, picture.alpha[:, :, None]], axis=2)
        return stored[:, :, 0] if stored.shape[2] == 1 else stored

    def towards(self, other: Picture, strength: float) -> Picture:
        """Return (1 - strength) of this picture's colour and `strength` of the other's; 0 and 1 give one as it is."""
        if strength in (0, 1):
            return replace(self, colour=other.colour if strength else self.colour)

        def between(top: int, bottom: int) -> np.ndarray:
            mine, others = self.rows(top, bottom), other.rows(top, bottom)
            return mine + np.float32(strength) * (others - mine)

        height, width = self.colour.shape[:2]
        return self.repainted(between(*band) for band in bands.cut(height, width))

    def in_8_bits(self) -> Picture:
        """Return the picture with samples of 8 bits, rounded; alpha loses its lower byte."""
        if self.colour.dtype == np.float32:
            return replace(self, colour=np.rint(self.colour * np.float32(255)).astype(np.uint8))
        if self.colour.dtype == np.uint8:
            return self
        alpha = None if self.alpha is None else (self.alpha >> 8).astype(np.uint8)
        return replace(self, colour=((self.colour.astype(np.uint32) + 128) // 257).astype(np.uint8), alpha=alpha)


def _paint(planes: np.ndarray, *, out: np.ndarray) -> None:
    """Write (3, H, W) float32, any range, to `out`, (H, W, 1) or (H, W, 3) as in `Picture.colour`."""

    def paint(top: int, bottom: int) -> None:
        values = np.clip(planes[:, top:bottom], 0, 1)
        if out.shape[2] == 1:
            values = values.mean(axis=0, keepdims=True)
        if out.dtype != np.float32:
            values *= np.float32(np.iinfo(out.dtype).max)
            np.rint(values, out=values)
        for channel, plane in enumerate(values):  # all three at once take twice as long
            out[top:bottom, :, channel] = plane

    for band in bands.cut(*planes.shape[1:]):
        paint(*band)


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
    channels = samples.shape[2]
    alpha = samples[:, :, -1].copy() if channels in (2, 4) else None
    return Picture(samples[:, :, : 1 if channels <= 2 else 3], alpha, keep or Keepsakes())


def from_pil(picture: Image.Image) -> Picture:
    """Make a picture of a Pillow image of any mode but 32-bit integer and float, turned upright.

    Raises ImageError for those two.
    """
    return from_opened(picture, *collect(picture))


def from_opened(picture: Image.Image, keep: Keepsakes, orientation: int) -> Picture:
    """Make a picture as `from_pil` does, with keepsakes that are known already."""
    if picture.mode in ("I", "F"):
        raise ImageError(f"Pictures of mode '{picture.mode}' have no fixed range; convert to 8 or 16 bits per channel.")
    if picture.mode.startswith("I;16"):
        return from_samples(turn(_samples(picture).astype(np.uint16), orientation), keep)
    if picture.mode == "CMYK":
        picture, keep = _cmyk_to_rgb(picture), replace(keep, icc_profile=None)
    if picture.mode == "LAB":
        picture, keep = _lab_to_rgb(picture), replace(keep, icc_profile=None)
    transparent = "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA", "La")
    mode = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, transparent]
    if picture.mode == "La":
        picture = picture.convert("LA")
    samples = _samples(picture if picture.mode == mode else picture.convert(mode))
    return from_samples(samples if orientation == 1 else turn(samples, orientation), keep)


def _samples(picture: Image.Image) -> np.ndarray:
    """Return the samples of a Pillow image, taken some rows at a time: at once, Pillow holds two copies beside it."""
    width, height = picture.size
    like = np.asarray(picture.crop((0, 0, width, 1)))
    samples = np.empty((height, *like.shape[1:]), like.dtype)
    for top, bottom in bands.cut(height, width):
        samples[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return samples


def to_pil(picture: Picture) -> Image.Image:
    """Return a Pillow image of mode L, LA, RGB, RGBA or I;16. Colour of 16 bits comes back in 8, Pillow has no more."""
    if picture.bits == 16 and (picture.layout == "RGB" or picture.alpha is not None):
        picture = picture.in_8_bits()
    out = Image.fromarray(picture.samples())
    if picture.keep.icc_profile:
        out.info["icc_profile"] = picture.keep.icc_profile
    if picture.keep.exif:
        out.info["exif"] = picture.keep.exif
    if picture.keep.xmp:
        out.info["xmp"] = picture.keep.xmp
    return out


def turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation 1 to 8 to (H, W, ...) samples."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def _cmyk_to_rgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return picture.convert("RGB")


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in sRGB. Raises ImageError where it cannot be computed."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError):
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        if converted is not None:
            return converted
    raise ImageError("Its colours (CIELAB) cannot be turned into RGB here; save it as RGB.")
