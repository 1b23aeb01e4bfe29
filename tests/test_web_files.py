"""What the page takes and saves, in Chromium and Firefox: formats, profiles, several photos, and what it refuses."""

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import golfdeblur

from .browsers import ROOT, Firefox, chromium, deblur, in_chromium, in_firefox, opened, saved, served, status
from .conftest import GUARD_S

P3_COLORANTS = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}


def display_p3() -> bytes:
    """Return sRGB's profile with Display P3's colorants: what ignores it, or converts by it, gets other values."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in P3_COLORANTS:
            values = [round(65536 * value) for value in P3_COLORANTS[tag]]
            struct.pack_into(">3i", profile, offset + 8, *values)
    return bytes(profile)


P3 = display_p3()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6"/></x:xmpmeta>'


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real blurry photo of odd size."""
    with Image.open(ROOT / "examples" / "walkway.jpg") as whole:
        return whole.convert("RGB").crop((101, 50, 101 + 181, 50 + 133))


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[274], found[271] = orientation, "Camera"
    return found.tobytes()


def near(made: Image.Image, expected: np.ndarray) -> bool:
    """Whether a picture that was compressed again is still the expected one."""
    given = np.asarray(made.convert("RGB" if expected.ndim == 3 else "L")).astype(float)
    return given.shape == expected.shape and np.abs(given - expected).mean() < 2.5


class TestInChromium:
    pytestmark = in_chromium

    @pytest.fixture(scope="class")
    def browser(self) -> Iterator[Any]:
        with chromium() as found:
            yield found

    @pytest.fixture
    def page(self, browser: Any, address: str) -> Iterator[Any]:
        page = opened(browser, f"{address}?runtime=float32")
        yield page
        page.context.close()
        assert page.complaints == []

    def give_back(self, page: Any, source: Path) -> Image.Image:
        deblur(page, source)
        return Image.open(saved(page, source.parent))

    @pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
    def test_a_jpeg_keeps_tables_sampling_exif_xmp_and_profile(
        self, page: Any, photo: Image.Image, tmp_path: Path, sampling: str
    ) -> None:
        source = tmp_path / "photo.jpg"
        photo.save(source, quality=97, subsampling=sampling, exif=exif(6), icc_profile=P3, xmp=XMP, dpi=(300, 300))
        given, made = Image.open(source), self.give_back(page, source)
        assert (made.format, made.size) == ("JPEG", photo.size[::-1])
        assert made.quantization == given.quantization
        assert made.layer[0][1:3] == given.layer[0][1:3]  # how the colour is sampled
        assert (made.getexif()[274], made.getexif()[271]) == (1, "Camera")
        assert made.info["icc_profile"] == P3
        assert b'Orientation="1"' in made.info["xmp"]
        assert made.info["dpi"] == (300, 300)
        assert near(
            made, golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(given.transpose(Image.Transpose.ROTATE_270)))
        )

    def test_grey_stays_grey_and_opaque_stays_opaque(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        model = golfdeblur.load(runtime="onnxruntime")
        for name, mode in (
            ("grey.jpg", "L"),
            ("grey.png", "L"),
            ("colour.png", "RGB"),
            ("clear.png", "RGBA"),
            ("two.png", "LA"),
        ):
            given = photo.convert(mode)
            if mode.endswith("A"):
                given.putalpha(Image.linear_gradient("L").resize(photo.size))
            given.save(tmp_path / name)
            made = self.give_back(page, tmp_path / name)
            assert made.mode == mode
            read = np.asarray(Image.open(tmp_path / name))
            expected = np.asarray(model.deblur(read))
            if name.endswith("png"):
                assert np.abs(np.asarray(made).astype(int) - expected).max() <= 1, name
            page.once("dialog", lambda dialog: dialog.accept())
            page.click("#start-over")

    @pytest.mark.parametrize("lossless", [False, True])
    def test_webp_stays_webp(self, page: Any, photo: Image.Image, tmp_path: Path, lossless: bool) -> None:
        source = tmp_path / "photo.webp"
        photo.save(source, lossless=lossless, quality=95, exif=exif(1), icc_profile=P3, xmp=XMP)
        made = self.give_back(page, source)
        assert (made.format, made.mode) == ("WEBP", "RGB")
        assert made.info["icc_profile"] == P3
        assert made.getexif()[271] == "Camera"
        assert b"xmpmeta" in made.info["xmp"]
        expected = golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(Image.open(source)))
        assert near(made, expected)
        if lossless:
            assert np.abs(np.asarray(made).astype(int) - expected).max() <= 1

    def test_avif_gives_its_profile_to_a_jpeg(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        source = tmp_path / "photo.avif"
        photo.save(source, quality=95, icc_profile=P3, exif=exif(1))
        made = self.give_back(page, source)
        assert (made.format, made.info["icc_profile"], made.getexif()[271]) == ("JPEG", P3, "Camera")
        assert near(made, golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(Image.open(source))))

    def test_heic_is_read_where_the_browser_cannot(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        heif = pytest.importorskip("pillow_heif")
        source = tmp_path / "photo.heic"
        given = heif.from_pillow(photo)
        given.info["icc_profile"] = P3
        given.save(source, quality=95, exif=exif(1))
        made = self.give_back(page, source)
        assert (made.format, made.size, made.info["icc_profile"]) == ("JPEG", photo.size, P3)
        assert made.getexif()[271] == "Camera"
        assert near(made, golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(photo)))

    def test_a_profile_of_cmyk_is_left_out(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        source = tmp_path / "print.jpg"
        profile = bytearray(P3)
        profile[16:20] = b"CMYK"
        photo.convert("CMYK").save(source, quality=95, icc_profile=bytes(profile))
        made = self.give_back(page, source)
        assert made.mode == "RGB"
        assert "icc_profile" not in made.info

    def test_another_format_can_be_chosen_and_copied(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        source = tmp_path / "photo.jpg"
        photo.save(source)
        deblur(page, source)
        for format in ("png", "webp"):
            page.select_option("#format", format)
            assert Image.open(saved(page, tmp_path)).format == format.upper()
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("#copy")
        status(page, "Copied")
        kinds = page.evaluate("async () => (await navigator.clipboard.read()).flatMap(({ types }) => types)")
        assert "image/png" in kinds

    def test_what_is_lost_is_said(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(tmp_path / "deep.png")
        deblur(page, tmp_path / "deep.png")
        assert "16 bits" in page.text_content("#status")
        photo.save(tmp_path / "moving.gif", save_all=True, append_images=[photo.rotate(180)])
        page.set_input_files("#file", tmp_path / "moving.gif")
        page.locator("#photos button").nth(1).click()
        status(page, "2 pictures")

    def test_several_photos_take_their_turn(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        names = ["one.png", "two.png", "two.jpg"]
        for name in names:
            photo.save(tmp_path / name)
        (tmp_path / "none.jpg").write_bytes(b"nothing")
        page.set_input_files("#file", [tmp_path / name for name in ("one.png", "none.jpg", "two.png", "two.jpg")])
        page.locator("#photos [data-state=done]").nth(2).wait_for()
        states = page.eval_on_selector_all("#photos button", "all => all.map(({ ariaLabel }) => ariaLabel)")
        assert states == ["one.png: done", "none.jpg: not possible", "two.png: done", "two.jpg: done"]
        assert "none.jpg is not a photo" in page.text_content("#error")
        status(page, "Done")  # of the first one, still
        made = zipfile.ZipFile(saved(page, tmp_path, "#save-all"))
        assert made.testzip() is None
        assert made.namelist() == ["one-deblurred.png", "two-deblurred.png", "two-deblurred.jpg"]
        sharp = Image.open(io.BytesIO(made.read("one-deblurred.png")))
        assert np.array_equal(np.asarray(sharp), np.asarray(Image.open(io.BytesIO(made.read("two-deblurred.png")))))
        page.locator("#photos button").nth(3).click()
        assert page.input_value("#format") == "jpeg"

    def test_bad_files_get_clear_words(self, page: Any, photo: Image.Image, tmp_path: Path) -> None:
        whole = io.BytesIO()
        photo.save(whole, "JPEG")
        files = {
            "text.jpg": (b"no image", "text.jpg is not a photo"),
            "empty.png": (b"", "empty.png is empty"),
            "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(200), "photo.heic is not a photo"),
            "cut.jpg": (whole.getvalue()[:-900], "cut.jpg ends in the middle"),
            "clip.mp4": (b"\0\0\0\x18ftypisom" + bytes(200), "golf video clip.mp4"),
            "clip.mkv": (b"\x1a\x45\xdf\xa3" + bytes(200), "golf video clip.mkv"),
        }
        for name, (content, words) in files.items():
            (tmp_path / name).write_bytes(content)
            page.set_input_files("#file", tmp_path / name)
            page.locator("#error", has_text=words).wait_for(timeout=1000 * GUARD_S)
            assert page.is_visible("#choose")
        page.complaints.clear()  # the HEIC decoder's own words
        photo.save(tmp_path / "photo.png")
        deblur(page, tmp_path / "photo.png")  # and the page goes on
        assert not page.is_visible("#alert")
        page.set_input_files("#file", tmp_path / "text.jpg")
        page.locator("#error", has_text="text.jpg").wait_for()
        assert page.is_visible("#save")  # the first one's state is as it was
        assert "Done" in page.text_content("#status")

    def test_what_does_not_fit_is_reduced_if_wanted(self, browser: Any, address: str, tmp_path: Path) -> None:
        source = tmp_path / "huge.png"
        Image.new("L", (2500, 2000), 90).save(source)
        context = browser.new_context(locale="en-GB")
        context.add_init_script("Object.defineProperty(navigator, 'deviceMemory', { get: () => 0.05 })")
        page = context.new_page()
        page.goto(address)
        page.set_input_files("#file", source)
        page.locator("#error", has_text="has 5 megapixels").wait_for()
        page.click("#reduce")
        status(page, "Reduced to")
        made = Image.open(saved(page, tmp_path))
        assert made.width * made.height <= 0.05e9 * 0.5 / 40
        assert abs(made.width / made.height - 1.25) < 0.01
        context.close()


class TestInFirefox:
    pytestmark = in_firefox

    @pytest.fixture(scope="class")
    def firefox(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
        found = Firefox(tmp_path_factory.mktemp("firefox"))
        yield found
        found.close()

    DONE = "document.getElementById('status').textContent.startsWith('Done')"

    @pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.webp", "photo.avif", "clear.png"])
    def test_the_result_is_the_commands_and_its_profile_stays(
        self, firefox: Firefox, address: str, photo: Image.Image, tmp_path: Path, name: str
    ) -> None:
        source = tmp_path / name
        given = photo.copy()
        if name == "clear.png":
            given.putalpha(Image.linear_gradient("L").resize(photo.size))
        given.save(source, icc_profile=P3, quality=95)
        firefox.open(f"{address}?runtime=float32")
        firefox.take(source)
        firefox.until(self.DONE)
        made = Image.open(firefox.saved())
        assert made.info["icc_profile"] == P3
        expected = golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(Image.open(source)))
        if name.endswith("png"):
            assert made.mode == given.mode
            seen = np.asarray(given)[:, :, -1] > 128 if made.mode == "RGBA" else np.ones(given.size[::-1], bool)
            # Without WebGL, as here, a canvas rounds the colour under what can hardly be seen.
            assert np.abs(np.asarray(made).astype(int) - expected)[seen].max() <= (2 if made.mode == "RGBA" else 1)
        else:
            assert made.format == {"jpg": "JPEG", "webp": "WEBP", "avif": "JPEG"}[name.split(".")[1]]
            assert near(made, expected)

    @pytest.mark.parametrize(("width", "height"), [(1280, 800), (1366, 650), (390, 844)])
    def test_everything_is_in_the_window(
        self, firefox: Firefox, address: str, photo: Image.Image, tmp_path: Path, width: int, height: int
    ) -> None:
        photo.save(tmp_path / "photo.png")
        firefox.open(address, width=width, height=height)
        firefox.take(tmp_path / "photo.png")
        firefox.until(self.DONE)
        page = "document.documentElement"
        assert firefox.ask(f"[{page}.scrollWidth <= innerWidth, {page}.scrollHeight <= innerHeight]") == [True, True]
        for name in ("fit", "save", "start-over", "status"):
            box = firefox.ask(f"document.getElementById('{name}').getBoundingClientRect()")
            assert box["left"] >= 0
            assert box["right"] <= width
            assert box["bottom"] <= height

    def test_a_cut_jpeg_is_refused(self, firefox: Firefox, address: str, photo: Image.Image, tmp_path: Path) -> None:
        source = tmp_path / "cut.jpg"
        photo.save(source)
        source.write_bytes(source.read_bytes()[:-900])
        firefox.open(address)
        firefox.take(source)
        assert firefox.until("document.getElementById('error').textContent.includes('ends in the middle')")
