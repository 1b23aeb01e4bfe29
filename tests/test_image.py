import io
import struct
import zlib
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms

from golfdeblur.errors import ImageError
from golfdeblur.files import image
from golfdeblur.files import picture as pictures


def round_trip(path: Path, out: Path) -> pictures.Picture:
    image.write(image.read(path), out)
    return image.read(out)


def save(path: Path, picture: Image.Image, **options) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pixels_of_every_mode_survive_lossless_files(tmp_path: Path, photo: np.ndarray, mode: str, suffix: str) -> None:
    original = Image.fromarray(photo).convert("RGBA" if mode in ("LA", "RGBA") else "RGB")
    if mode in ("LA", "RGBA"):
        original.putalpha(
            Image.fromarray((np.arange(photo.shape[1])[None] % 256).repeat(photo.shape[0], 0).astype(np.uint8))
        )
    path = save(tmp_path / f"in{suffix}", original.convert(mode))
    back = round_trip(path, tmp_path / f"out{suffix}")
    expected = Image.open(path).convert({"1": "L", "P": "RGB"}.get(mode, mode))
    assert np.array_equal(back.samples(), np.asarray(expected))


def test_palette_with_transparency_becomes_rgba(tmp_path: Path, photo: np.ndarray) -> None:
    palette = Image.fromarray(photo).quantize(16)
    path = save(tmp_path / "in.png", palette, transparency=3)
    picture = image.read(path)
    assert picture.alpha is not None
    assert np.array_equal(picture.samples(), np.asarray(Image.open(path).convert("RGBA")))


def test_cmyk_becomes_rgb(tmp_path: Path, photo: np.ndarray) -> None:
    path = save(tmp_path / "in.jpg", Image.fromarray(photo).convert("CMYK"), quality=95, icc_profile=b"broken")
    back = round_trip(path, tmp_path / "out.jpg")
    assert back.layout == "RGB"
    assert back.keep.icc_profile is None
    assert np.abs(back.samples().astype(int) - photo).mean() < 8


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(tmp_path: Path, channels: int, suffix: str) -> None:
    samples = np.random.default_rng(channels).integers(0, 65536, (23, 37, channels), np.uint16)
    path = tmp_path / f"in{suffix}"
    if suffix == ".png":
        writer = png.Writer(37, 23, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
        with path.open("wb") as file:
            writer.write_array(file, samples.ravel().tolist())
    else:
        extra = ["unassalpha"] if channels in (2, 4) else None
        photometric = "rgb" if channels >= 3 else "minisblack"
        tifffile.imwrite(path, samples.squeeze(), photometric=photometric, extrasamples=extra, planarconfig="contig")
    back = round_trip(path, tmp_path / f"out{suffix}")
    assert back.bits == 16
    assert np.array_equal(back.samples(), samples.squeeze())


def test_exif_survives_16_bit_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x829A] = 0.125
    exif.get_ifd(0x8825)[1] = "N"
    samples = np.random.default_rng(0).integers(0, 65536, (70, 33, 3), np.uint16)
    picture = pictures.from_samples(samples, pictures.Keepsakes(exif=exif.tobytes()))
    for name in ("out.png", "out.tif"):
        image.write(picture, tmp_path / name)
        back = image.read(tmp_path / name)
        assert np.array_equal(back.samples(), samples)
        kept = Image.Exif()
        kept.load(back.keep.exif)
        assert kept[0x010F] == "Camera"
        assert kept.get_ifd(0x8769)[0x829A] == 0.125
        assert kept.get_ifd(0x8825)[1] == "N"


def test_16_bit_profile_and_orientation(tmp_path: Path, photo: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = photo.astype(np.uint16) * 257
    path = tmp_path / "in.tif"
    tifffile.imwrite(
        path, deep, photometric="rgb", iccprofile=profile, extratags=[(274, "H", 1, 6, True)], metadata=None
    )
    for suffix in (".tif", ".png"):
        back = round_trip(path, tmp_path / f"out{suffix}")
        assert back.keep.icc_profile == profile
        assert np.array_equal(back.samples(), np.rot90(deep, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_and_the_tag_reset(tmp_path: Path, photo: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera & Co"
    path = save(tmp_path / "in.png", Image.fromarray(photo), exif=exif)
    picture = image.read(path)
    turned = {1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.swapaxes(0, 1)}
    turned |= {6: np.rot90(photo, -1), 7: photo.swapaxes(0, 1)[::-1, ::-1], 8: np.rot90(photo)}
    assert np.array_equal(picture.samples(), turned[orientation])
    for name in ("out.jpg", "out.png", "out.webp", "out.tif"):
        image.write(picture, tmp_path / name)
        kept = Image.open(tmp_path / name).getexif()
        assert kept.get(0x0112, 1) == 1
        assert kept[0x010F] == "Camera & Co"
    assert np.array_equal(pictures.turn(photo, orientation), turned[orientation])


def test_profile_and_resolution_survive(tmp_path: Path, photo: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "in.jpg", Image.fromarray(photo), icc_profile=profile, dpi=(300, 300))
    for name in ("out.jpg", "out.png", "out.tif", "out.webp"):
        back = round_trip(path, tmp_path / name)
        assert back.keep.icc_profile == profile
        if name != "out.webp":
            assert back.keep.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(("quality", "sampling"), [(60, 2), (95, 1), (100, 0)])
def test_jpeg_quality_is_kept(tmp_path: Path, photo: np.ndarray, quality: int, sampling: int) -> None:
    path = save(tmp_path / "in.jpg", Image.fromarray(photo), quality=quality, subsampling=sampling)
    image.write(image.read(path), tmp_path / "out.jpg")
    before, after = Image.open(path), Image.open(tmp_path / "out.jpg")
    assert after.quantization == before.quantization
    from PIL import JpegImagePlugin

    assert JpegImagePlugin.get_sampling(after) == sampling


def test_turned_jpeg_keeps_its_quality(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "in.jpg", Image.fromarray(photo), quality=99, subsampling=2, exif=exif)
    keep = image.read(path).keep
    assert keep.format == "JPEG"
    assert keep.subsampling == 2
    assert keep.quantisation == Image.open(path).quantization


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1" xmp:Rating="4"/></x:xmpmeta>'


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_captions_and_ratings_are_kept(tmp_path: Path, photo: np.ndarray, name: str, bits: int) -> None:
    samples = photo if bits == 8 else photo.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    image.write(pictures.from_samples(samples, pictures.Keepsakes(exif=exif.tobytes(), xmp=XMP)), tmp_path / name)
    kept = image.read(tmp_path / name).keep
    assert kept.xmp == XMP
    assert Image.open(tmp_path / name).getexif()[0x010F] == "Camera"
    assert pictures.to_pil(image.read(tmp_path / name)).info["xmp"] == kept.xmp


def test_xmp_says_that_the_picture_is_upright(photo: np.ndarray) -> None:
    turned = Image.fromarray(photo)
    turned.info["xmp"] = XMP.replace(b'Orientation="1"', b'Orientation="6"')
    turned.getexif()[0x0112] = 6
    kept = pictures.from_pil(turned)
    assert kept.size == photo.shape[:2]
    assert kept.keep.xmp == XMP


def test_xmp_that_cannot_hold_is_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    long = pictures.Keepsakes(xmp=b"x" * 70_000)
    image.write(pictures.from_samples(photo, long), tmp_path / "long.jpg")
    assert image.read(tmp_path / "long.jpg").keep.xmp is None
    moving = Image.fromarray(photo)
    moving.info["xmp"] = b'<Container:Directory><rdf:li Item:Mime="video/mp4"/></Container:Directory>'
    assert pictures.from_pil(moving).keep.xmp is None


def test_exif_is_kept_to_the_byte_and_the_given_image_untouched(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x927C] = b"maker's note \0\1\2"
    path = save(tmp_path / "in.jpg", Image.fromarray(photo), exif=exif)
    image.write(image.read(path), tmp_path / "out.jpg")
    assert Image.open(tmp_path / "out.jpg").info["exif"] == Image.open(path).info["exif"]
    exif[0x0112] = 3
    turned = Image.open(save(tmp_path / "turned.jpg", Image.fromarray(photo), exif=exif))
    kept = Image.Exif()
    kept.load(pictures.from_pil(turned).keep.exif)
    assert turned.getexif()[0x0112] == 3
    assert kept[0x0112] == 1
    assert kept.get_ifd(0x8769)[0x927C] == b"maker's note \0\1\2"


def test_alpha_is_dropped_where_the_format_has_none(tmp_path: Path, photo: np.ndarray) -> None:
    path = save(tmp_path / "in.png", Image.fromarray(photo).convert("RGBA"))
    assert round_trip(path, tmp_path / "out.jpg").alpha is None


def bomb(path: Path) -> Path:
    """A 30,000 x 30,000 PNG of a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )
    return path


def bad_files(folder: Path, photo: np.ndarray) -> dict[str, tuple[Path, str]]:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    (folder / "text.jpg").write_text("Dear diary, " * 50)
    (folder / "short.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "short.tif").write_bytes(b"II*\0\x08\0\0\0")
    return {
        "missing": (folder / "missing.jpg", "does not exist"),
        "folder": (folder, "is a folder"),
        "text": (folder / "text.jpg", "is not an image"),
        "truncated": (folder / "short.jpg", "damaged"),
        "empty": (folder / "empty.png", "empty"),
        "bomb": (bomb(folder / "bomb.png"), "too many pixels"),
        "tiff": (folder / "short.tif", "cannot be read|is not an image"),
    }


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "truncated", "empty", "bomb", "tiff"])
def test_bad_files_get_one_sentence(tmp_path: Path, photo: np.ndarray, kind: str) -> None:
    path, sentence = bad_files(tmp_path, photo)[kind]
    for read in (image.read, image.read_rgb8):
        with pytest.raises(ImageError, match=sentence) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_deep_png_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    image.write(pictures.from_samples(np.random.default_rng(0).integers(0, 65536, (40, 40, 3), np.uint16)), path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(ImageError, match="damaged"):
        image.read(path)


@pytest.mark.parametrize("name", ["out.gif", "out.xyz", "nowhere/out.png"])
def test_unwritable_names(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    with pytest.raises(ImageError):
        image.write(pictures.from_samples(photo), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_stay(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "out.png"
    path.write_text("precious")
    with pytest.raises(ImageError, match="--force"):
        image.write(pictures.from_samples(photo), path)
    assert path.read_text() == "precious"
    image.write(pictures.from_samples(photo), path, force=True)
    assert np.array_equal(np.asarray(Image.open(path)), photo)


def test_a_failed_write_leaves_nothing(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageError, match="No space left"):
        image.write(pictures.from_samples(photo), tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(7, np.uint8), np.zeros((4, 4), np.int32)],
)
def test_what_is_no_image(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="is no image"):
        pictures.from_samples(array)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="no fixed range"):
        pictures.from_pil(Image.new(mode, (4, 4)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("grey", [False, True])
def test_16_bits_are_rounded_to_8(tmp_path: Path, photo: np.ndarray, suffix: str, grey: bool) -> None:
    colour = photo[:, :, :1] if grey else photo
    path = tmp_path / f"deep{suffix}"
    image.write(pictures.from_samples(257 * colour.astype(np.uint16) + 100), path)
    assert np.array_equal(image.read_rgb8(path), np.broadcast_to(colour, photo.shape))


def test_a_file_in_such_a_mode_is_named(tmp_path: Path) -> None:
    Image.new("F", (4, 4)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f\.tif: .*no fixed range"):
        image.read(tmp_path / "f.tif")


@pytest.mark.parametrize("mode", ["HSV", "LAB", "YCbCr", "I;16", "PA", "RGBX"])
def test_rarer_modes_are_read(mode: str) -> None:
    picture = pictures.from_pil(Image.new(mode, (5, 4)))
    assert picture.size == (5, 4)
    assert picture.bits == (16 if mode == "I;16" else 8)


def test_the_next_file_is_read_while_one_is_worked_on(tmp_path: Path, photo: np.ndarray) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(photo).save(good)
    bad.write_text("no image")
    reads = image.read_ahead(image.read, [good, bad, good])
    assert np.array_equal(next(reads)().samples(), photo)
    with pytest.raises(ImageError, match=r"bad.png"):
        next(reads)()
    assert np.array_equal(next(reads)().samples(), photo)
    assert list(reads) == []
    assert list(image.read_ahead(image.read, [])) == []


def test_heic_is_read_with_its_extra(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    import pillow_heif

    exif = Image.Exif()
    exif[271] = "Camera"
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(photo)).save(path, quality=90, exif=exif.tobytes())
    picture = image.read(path)
    assert np.abs(picture.samples().astype(int) - photo).mean() < 5
    image.write(picture, tmp_path / "photo.jpg")
    assert Image.open(tmp_path / "photo.jpg").getexif()[271] == "Camera"
    with pytest.raises(ImageError, match=r"\.heic"):
        image.write(picture, tmp_path / "out.heic")
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"golfdeblur\[heic\]"):
        image.read(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".tga", ".ppm", ".jp2", ".avif"])
def test_a_file_cut_short_by_a_full_disk_is_not_taken_for_whole(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    picture, path = pictures.from_samples(photo), tmp_path / f"out{suffix}"
    image.write(picture, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in (len(before) - 1, len(before) // 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(ImageError, match="cannot be written"):
                image.write(picture, path, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
