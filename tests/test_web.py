"""The page in a real browser. `make test-slow` builds it; Debian's Chromium has to be installed."""

import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import golfdeblur

from .conftest import GUARD_S
from .test_cli import fails, golf

ROOT = Path(__file__).parent.parent
DIST = ROOT / "web" / "dist"
CHROMIUM = shutil.which("chromium")
in_a_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium"),
    pytest.mark.skipif(not (DIST / "index.html").exists(), reason="make web"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "golfdeblur", "web", "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().split()[0]
    server.terminate()
    server.wait(timeout=GUARD_S)


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1200, "height": 860}, accept_downloads=True).new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        status(page, "Ready.")
        yield page
        assert page.errors == []
        browser.close()


def status(page: Any, words: str, seconds: float = 120) -> None:
    page.locator("#status", has_text=words).wait_for(timeout=1000 * seconds)


def deblur(page: Any, path: Path) -> None:
    page.set_input_files("#file", path)
    status(page, "Done")


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as found:
        page.click("#download")
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


@pytest.fixture(scope="module")
def blurry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real blurry photo of odd size, as PNG."""
    path = tmp_path_factory.mktemp("photo") / "walkway.png"
    with Image.open(ROOT / "examples" / "walkway.jpg") as photo:
        photo.crop((101, 50, 101 + 613, 50 + 405)).save(path)
    return path


class TestInTheBrowser:
    pytestmark = in_a_browser

    def test_the_result_is_the_commands(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        seen = []
        page.expose_function("golfSeen", lambda value: seen.append(value))
        page.evaluate(
            """() => new MutationObserver(() => {
                for (const radio of document.querySelectorAll('#strokes input')) golfSeen(radio.value);
            }).observe(document.getElementById('strokes'), { childList: true })"""
        )
        deblur(page, blurry)
        radios = page.locator("#strokes input").count()
        assert seen[0] == "0"  # x0 was there before the others
        made = np.asarray(Image.open(download(page, tmp_path)).convert("RGB"))
        model = golfdeblur.load(runtime="onnxruntime-int8")  # what the page takes for WASM
        expected = model.deblur(np.asarray(Image.open(blurry)))
        assert radios == len(list(model.strokes(np.asarray(Image.open(blurry)))))
        assert np.array_equal(made, expected)

    def test_the_slider_and_the_strokes_are_worked_by_keyboard_and_mouse(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        stage = page.locator("#stage")
        middle = stage.screenshot()
        page.focus("#slider")
        page.keyboard.press("End")
        before = picture(stage.screenshot())
        page.keyboard.press("Home")
        after = picture(stage.screenshot())
        assert np.abs(before - after).mean() > 0.5  # the whole stage shows one, then the other
        assert np.abs(picture(middle) - after).mean() > 0.2
        box = stage.bounding_box()
        page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 20)
        assert abs(float(page.input_value("#slider")) - 25) <= 2
        page.check("#strokes input[value='0']")
        assert page.text_content("#after-tag") == "x0"
        page.check("#zoom")
        width = page.locator("#before").evaluate("canvas => canvas.getBoundingClientRect().width")
        assert width == Image.open(blurry).width

    def test_exif_orientation_and_profile_are_kept(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[274], exif[271] = 6, "Camera"  # turned by 90 degrees
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        source = tmp_path / "turned.jpg"
        Image.open(blurry).save(source, quality=95, exif=exif.tobytes(), icc_profile=profile)
        deblur(page, source)
        made = Image.open(download(page, tmp_path))
        assert made.format == "JPEG"
        assert made.size == Image.open(blurry).size[::-1]
        assert (made.getexif()[274], made.getexif()[271]) == (1, "Camera")
        assert made.info["icc_profile"] == profile
        png = tmp_path / "profile.png"
        Image.open(blurry).save(png, icc_profile=profile)
        deblur(page, png)
        assert Image.open(download(page, tmp_path)).info["icc_profile"] == profile

    def test_nothing_is_sent_and_nothing_can_be(self, page: Any, blurry: Path) -> None:
        time.sleep(1)
        requests = []
        page.context.on("request", lambda request: requests.append(request.url))
        deblur(page, blurry)
        assert [url for url in requests if not url.startswith("blob:")] == []
        blocked = page.evaluate("() => fetch('http://localhost:9/').then(() => false, () => true)")
        assert blocked
        assert "connect-src 'self'" in page.content()

    def test_it_works_offline_after_the_first_visit(self, page: Any, blurry: Path) -> None:
        page.reload()  # the runtime's files are in the cache once the service worker has served them
        status(page, "Ready.")
        page.context.set_offline(True)
        page.reload()
        status(page, "Ready.")
        deblur(page, blurry)

    def test_bad_files_get_clear_words(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        files = {
            "text.jpg": (b"no image", "text.jpg is not a photo"),
            "empty.png": (b"", "empty.png is empty"),
            "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(200), "photo.heic is HEIC"),
            "cut.png": (blurry.read_bytes()[:40], "cut.png is not a photo"),
        }
        for name, (content, words) in files.items():
            (tmp_path / name).write_bytes(content)
            page.set_input_files("#file", tmp_path / name)
            page.locator("#error", has_text=words).wait_for(timeout=10_000)
        deblur(page, blurry)  # and the page goes on
        assert not page.locator("#error").is_visible()

    def test_a_large_photo_can_be_cancelled_and_finishes(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        large = tmp_path / "large.jpg"
        Image.open(blurry).resize((4000, 3000)).save(large, quality=90)
        page.set_input_files("#file", large)
        status(page, "Deblurring")
        page.click("#cancel")
        status(page, "Cancelled", 60)
        page.set_input_files("#file", large)
        status(page, "Done", 280)
        assert page.evaluate("() => document.getElementById('after').width") == 4000

    def test_another_photo_takes_the_place_of_one_at_work(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        large = tmp_path / "large.jpg"
        Image.open(blurry).resize((3000, 2000)).save(large, quality=90)
        page.set_input_files("#file", large)
        status(page, "Deblurring")
        deblur(page, blurry)
        assert page.evaluate("() => document.getElementById('after').width") == 613
        assert not page.locator("#error").is_visible()

    def test_a_phone_shows_everything(self, page: Any, blurry: Path) -> None:
        page.set_viewport_size({"width": 360, "height": 740})
        deblur(page, blurry)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        for name in ("slider", "zoom", "download", "again"):
            box = page.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360

    def test_a_screen_reader_is_told(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        tree = page.locator("body").aria_snapshot()
        for words in (
            'slider "Before and after"',
            'radio "x0"',
            'button "Download"',
            "status:",
            'img "The photo after"',
        ):
            assert words in tree, tree
        assert page.get_attribute("#slider", "aria-valuetext")


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)


def test_the_server_has_the_headers_and_only_this_computer(tmp_path: Path) -> None:
    import urllib.request

    (tmp_path / "index.html").write_text("page")
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    command = [sys.executable, "-m", "golfdeblur", "web", "--no-browser", "--port", "0", "--folder", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address + "a.wasm") as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        port = address.rsplit(":", 1)[1].strip("/")
        fails(golf("web", "--no-browser", "--port", port, "--folder", tmp_path), port, "--port")
    finally:
        server.terminate()
        server.wait(timeout=GUARD_S)
    fails(golf("web", "--no-browser", "--folder", tmp_path / "none"), "make web")
