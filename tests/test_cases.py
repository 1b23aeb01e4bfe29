"""Small files on which something went wrong once (tests/cases): each gives what is right for it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

import golfdeblur
from golfdeblur.album import jobs_in
from golfdeblur.errors import LeftOutWarning
from golfdeblur.files import image

CASES = Path(__file__).parent / "cases"
EXIF, GPS = 0x8769, 0x8825

Check = Callable[[Image.Image], bool]


def has_camera(made: Image.Image) -> bool:
    tags = made.getexif()
    return tags[271] == "Cam" and tags.get(274, 1) == 1


def has_all_exif(made: Image.Image) -> bool:
    tags = made.getexif()
    return has_camera(made) and tags.get_ifd(EXIF)[36867] == "2024:01:02 03:04:05"


def has_place(made: Image.Image) -> bool:
    return has_all_exif(made) and made.getexif().get_ifd(GPS)[2] == (47.0, 30.0, 12.5)


def red_by_profile(made: Image.Image) -> tuple[float, ...]:
    """Return the picture's middle in sRGB of floats as its profile says it, (3,)."""
    profile = ImageCms.ImageCmsProfile(__import__("io").BytesIO(made.info["icc_profile"]))
    srgb = ImageCms.profileToProfile(made.convert("RGB"), profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert srgb is not None
    return srgb.getpixel((made.width // 2, made.height // 2))


def is_wide_red(made: Image.Image) -> bool:
    """Whether red of Display P3 comes out as the strongest red of sRGB, not as a paler one."""
    red, green, blue = red_by_profile(made)
    return red > made.getpixel((32, 32))[0] + 10 and green <= 20 and blue <= 20


DAMAGED = r"damaged entries of the EXIF \(\d+\)"

RIGHT: list[tuple[str, str, str, Check]] = [
    ("camera.jpg", "x.jpg", "", has_place),
    ("camera.jpg", "x.tif", "", has_place),
    ("camera.jpg", "x.png", "", has_place),
    ("camera.jpg", "x.webp", "", has_place),
    ("lightroom-like.tif", "x.tif", "", has_all_exif),
    ("exif-damaged-0.jpg", "x.jpg", "", has_place),
    ("exif-damaged-0.jpg", "x.tif", "", has_place),
    ("exif-damaged-1.jpg", "x.jpg", DAMAGED, has_all_exif),
    ("exif-damaged-1.jpg", "x.tif", DAMAGED, has_all_exif),
    ("exif-damaged-3.jpg", "x.jpg", "", has_all_exif),
    ("exif-damaged-3.jpg", "x.tif", DAMAGED, has_all_exif),
    ("exif-damaged-4.jpg", "x.jpg", DAMAGED, has_camera),
    ("exif-damaged-4.jpg", "x.tif", DAMAGED, has_camera),
    ("exif-damaged-6.jpg", "x.jpg", r"the EXIF \(damaged\)", lambda made: not made.getexif()),
    ("exif-damaged-6.jpg", "x.tif", r"the EXIF \(damaged\)", lambda made: 271 not in made.getexif()),
    ("exif_big.png", "x.png", "", lambda made: len(made.getexif().get_ifd(EXIF)[37500]) > 65536),
    ("exif_big.png", "x.jpg", r"MakerNote of the EXIF, too long for a JPEG", has_camera),
    ("png_badexif.png", "x.png", r"the EXIF \(damaged\)", lambda made: not made.getexif()),
    ("png_bigztxt.png", "x.png", r"the text 'workflow' \(damaged, or longer than a megabyte\)", lambda made: True),
    ("png16_sbitbad.png", "x.png", r"how many bits of a sample count \(the chunk sBIT, damaged\)", lambda made: True),
    ("png_text.png", "x.png", "", lambda made: made.text["parameters"] == "a photo of a dog, seed 42"),
    ("png_text.png", "x.tif", r"the texts, which a file of this kind does not hold", lambda made: True),
    ("png_gama.png", "x.png", "", lambda made: made.info["gamma"] == 1.0),
    ("png_gama.png", "x.jpg", "", lambda made: red_by_profile(made) > made.getpixel((120, 80))),
    ("jpg_iptc.jpg", "x.jpg", "", lambda made: b"Hello" in made.info["photoshop"][1028]),
    ("webp_lossless.webp", "x.webp", "", lambda made: image.read(made.filename).keep.lossless),
    ("m_LA.png", "x.bmp", "", lambda made: made.size == (240, 160)),
    ("m_LA.png", "x.png", "", lambda made: made.mode == "LA"),
    ("t_thumbfirst.tif", "x.tif", "", lambda made: made.size == (240, 160)),
    ("p3red.heic", "x.jpg", "", is_wide_red),
    ("avif-mif1.heif", "x.jpg", "", lambda made: made.size == (240, 160)),
]


@pytest.mark.parametrize(("name", "output", "said", "is_right"), RIGHT, ids=[f"{case[0]}-{case[1]}" for case in RIGHT])
def test_each_case_is_right(
    tmp_path: Path, tiny_model: Path, name: str, output: str, said: str, is_right: Check
) -> None:
    if name.endswith((".heic", ".heif")):
        pytest.importorskip("pillow_heif")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        golfdeblur.load(tiny_model).deblur(CASES / name, steps=0, output=tmp_path / output)
    words = "".join(str(w.message).partition("left out: ")[2] for w in caught if w.category is LeftOutWarning)
    assert re.fullmatch(rf"{said}\." if said else "", words)
    with Image.open(tmp_path / output) as made:
        assert made.size == image.read(CASES / name).size
        assert image.read(tmp_path / output).keep.pictures == 1
        assert is_right(made)


def test_noise_of_more_bytes_than_encoders_expect(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    picture = image.read(tmp_path / "a.jpg")
    assert image.write(picture, tmp_path / "b.jpg") == []
    assert np.abs(image.read(tmp_path / "b.jpg").colour.astype(int) - picture.colour).max() <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied_colour_is_shown_as_before(tmp_path: Path, photo: np.ndarray, bits: int) -> None:
    alpha = np.full(photo.shape[:2], 64, np.uint8)
    scale = 257 if bits == 16 else 1
    stored = np.dstack([(photo.astype(np.uint32) * scale * alpha[:, :, None] // 255), alpha.astype(np.uint32) * scale])
    tifffile.imwrite(
        tmp_path / "a.tif", stored.astype(np.uint16 if bits == 16 else np.uint8), photometric="rgb", extrasamples=[1]
    )
    picture = image.read(tmp_path / "a.tif").in_8_bits()
    assert np.abs(picture.colour.astype(int) - photo).max() <= (1 if bits == 16 else 5)


def test_names_of_every_kind_that_can_be_read_count_in_a_folder(tmp_path: Path) -> None:
    for name in ("x.jfif", "x1.jpe", "x2.avif", "x3.jp2", "x4.tga", "x5.HIF"):
        (tmp_path / name).write_bytes((CASES / "camera.jpg").read_bytes())
    assert len(jobs_in(tmp_path, tmp_path / "out").jobs) == 6
