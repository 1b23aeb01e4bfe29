"""The page in a real browser: how it computes, looks, keeps and refuses. tests/test_web_files.py has what it saves."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import golfdeblur

from .browsers import (
    CHROMIUM,
    DIST,
    QUIET,
    ROOT,
    SOFTWARE_GPU,
    chromium,
    deblur,
    in_chromium,
    opened,
    plainly_served,
    saved,
    served,
    status,
)
from .conftest import GUARD_S
from .test_cli import fails, golf


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def imitated(browser: Any) -> Iterator[Any]:
    """Chromium with a graphics card in software."""
    found = browser.browser_type.launch(executable_path=CHROMIUM, args=[*QUIET, *SOFTWARE_GPU])
    yield found
    found.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = opened(browser, address)
    yield page
    page.context.close()
    assert page.complaints == []


@pytest.fixture(scope="module")
def blurry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real blurry photo of odd size, as PNG."""
    path = tmp_path_factory.mktemp("photo") / "walkway.png"
    with Image.open(ROOT / "examples" / "walkway.jpg") as photo:
        photo.crop((101, 50, 101 + 613, 50 + 405)).save(path)
    return path


@pytest.fixture(scope="module")
def tiny(blurry: Path) -> Path:
    path = blurry.with_name("tiny.png")
    Image.open(blurry).crop((0, 100, 93, 175)).save(path)
    return path


@pytest.fixture(scope="module")
def large(blurry: Path) -> Path:
    path = blurry.with_name("large.jpg")
    Image.open(blurry).resize((2000, 1500)).save(path, quality=90)
    return path


def strokes(page: Any) -> int:
    return page.locator("#panel input[name=stroke]").count()


class TestComputing:
    pytestmark = in_chromium

    def test_in_float32_the_result_is_the_commands(
        self, browser: Any, address: str, blurry: Path, tmp_path: Path
    ) -> None:
        page = opened(browser, f"{address}?runtime=float32")
        deblur(page, blurry)
        made = np.asarray(Image.open(saved(page, tmp_path)))
        model, given = golfdeblur.load(runtime="onnxruntime"), np.asarray(Image.open(blurry))
        assert np.abs(made.astype(int) - model.deblur(given)).max() <= 1
        assert (made != model.deblur(given)).mean() < 1e-4
        assert strokes(page) == len(list(model.strokes(given)))

    def test_webgpu_computes_what_the_command_does(
        self, imitated: Any, address: str, tiny: Path, tmp_path: Path
    ) -> None:
        page = opened(imitated, f"{address}?runtime=webgpu")
        assert page.evaluate("document.documentElement.dataset.runtime") == "webgpu"
        deblur(page, tiny)
        made = np.asarray(Image.open(saved(page, tmp_path)))
        expected = golfdeblur.load(runtime="onnxruntime").deblur(np.asarray(Image.open(tiny)))
        assert np.abs(made.astype(int) - expected).max() <= 1

    def test_an_imitated_graphics_card_is_left_alone(self, imitated: Any, address: str) -> None:
        page = opened(imitated, address)
        assert page.evaluate("document.documentElement.dataset.runtime") == "wasm"
        page.click("#example")
        page.click("#details summary")
        assert "only imitated" in page.text_content("#panel")

    def test_wrong_numbers_put_webgpu_aside(self, imitated: Any, tmp_path: Path) -> None:
        shutil.copytree(DIST, tmp_path / "page")
        known = tmp_path / "page" / "model" / "model.json"
        model = json.loads(known.read_text())
        model["networks"]["F"]["known"][0] += 0.01
        known.write_text(json.dumps(model))
        with served(tmp_path / "page") as address:
            page = opened(imitated, f"{address}?runtime=webgpu", service_workers="block")
            assert page.evaluate("document.documentElement.dataset.runtime") == "wasm"
            page.click("#example")
            page.click("#details summary")
            assert "wrong" in page.text_content("#panel")

    def test_only_the_files_of_the_chosen_runtime_are_loaded(self, browser: Any, address: str) -> None:
        context = browser.new_context()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url.removeprefix(address)))
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("html[data-runtime]")
        loaded = {name for name in asked if name.startswith(("ort/", "model/", "heic/"))}
        assert loaded == {
            *("ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"),
            *("model/model.json", "model/F.int8.onnx", "model/G.int8.onnx"),
        }
        context.close()

    def test_progress_rises_and_can_be_seen_in_a_low_window(self, page: Any, large: Path) -> None:
        page.set_viewport_size({"width": 1366, "height": 650})
        page.set_input_files("#file", large)
        page.wait_for_selector("#progress:not([hidden])")
        box = page.locator("#progress").bounding_box()
        assert box["y"] + box["height"] <= 650
        page.evaluate(
            """() => {
                const meter = document.getElementById("meter");
                window.seen = [];
                setInterval(() => { if (meter.hasAttribute("value")) seen.push(meter.value); }, 50);
            }"""
        )
        page.locator("#left", has_text=re.compile("left")).wait_for(timeout=1000 * GUARD_S)
        assert re.search(r"\d %", page.text_content("#progress-words"))
        status(page, "Done")
        seen = page.evaluate("seen")
        assert seen == sorted(seen)
        assert max(seen) > 0.9
        assert 0.15 < np.interp(len(seen) / 2, range(len(seen)), seen) < 0.85  # half the time, about half the way

    def test_cancel_answers_at_once_and_again_goes_on(self, page: Any, large: Path, blurry: Path) -> None:
        page.set_input_files("#file", large)
        status(page, "Deblurring")
        page.click("#cancel")
        assert page.text_content("#status") == "Cancelled."
        page.click("#again")
        status(page, "Deblurring")
        page.click("#cancel")
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("#start-over")
        deblur(page, blurry)


class TestLooking:
    pytestmark = in_chromium

    def test_the_divider_is_worked_by_keyboard_and_mouse(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        canvas = page.locator("#viewer canvas")
        middle = picture(canvas.screenshot())
        page.focus("#divider")
        page.keyboard.press("End")
        before = picture(canvas.screenshot())
        page.keyboard.press("Home")
        after = picture(canvas.screenshot())
        assert np.abs(before - after).mean() > 0.5
        assert 0.2 < np.abs(middle - after).mean() < np.abs(before - after).mean()
        assert page.get_attribute("#divider", "aria-valuetext") == "0 % before, 100 % after"
        page.keyboard.down("b")  # as it was, for as long as it is held
        assert np.abs(picture(canvas.screenshot()) - before)[60:].mean() < 0.5
        page.keyboard.up("b")
        assert np.abs(picture(canvas.screenshot()) - after)[60:].mean() < 0.5
        box = page.locator("#divider").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, 400)
        page.mouse.down()
        page.mouse.move(320, 400)
        page.mouse.up()
        assert page.get_attribute("#divider", "aria-valuenow") == "25"

    def test_the_wheel_zooms_at_the_pointer_and_dragging_moves_the_photo(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        page.focus("#divider")
        page.keyboard.press("Home")
        assert page.get_attribute("#fit", "aria-pressed") == "true"
        canvas = page.locator("#viewer canvas")
        page.click("#full")
        shown, made = picture(canvas.screenshot()), np.asarray(Image.open(blurry)).astype(float)
        top, left = (np.array(shown.shape[:2]) - made.shape[:2]) // 2
        centred = shown[top : top + made.shape[0], left : left + made.shape[1]]
        assert np.abs(centred - made).mean() < 8  # 100 %, in the middle: pixel on pixel, but for what was sharpened
        page.mouse.move(500, 300)
        for _ in range(4):
            page.mouse.wheel(0, -300)
        page.wait_for_timeout(500)
        assert page.get_attribute("#fit", "aria-pressed") == "false"
        zoomed = picture(canvas.screenshot())
        y, x = 300 - int(canvas.bounding_box()["y"]), 500
        near = shown[y - 1 : y + 2, x - 1 : x + 2]
        assert np.abs(zoomed[y, x] - near).mean(axis=2).min() < 4  # what was under the pointer is still there
        assert np.abs(zoomed - shown).mean() > 5
        page.mouse.move(600, 400)
        page.mouse.down()
        page.mouse.move(640, 430, steps=4)
        page.mouse.up()
        page.wait_for_timeout(200)
        moved = picture(canvas.screenshot())
        assert np.abs(moved[230:430, 140:540] - zoomed[200:400, 100:500]).mean() < 1
        assert page.get_attribute("#divider", "aria-valuenow") == "0"  # the divider stays in the window
        page.mouse.dblclick(600, 400)
        assert page.get_attribute("#fit", "aria-pressed") == "true"

    def test_a_stroke_can_be_chosen(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        page.focus("#divider")
        page.keyboard.press("Home")
        last = picture(page.locator("#viewer canvas").screenshot())
        page.click("#details summary")
        page.check("#panel input[value='0']")
        page.keyboard.press("Escape")
        page.wait_for_timeout(300)
        first = picture(page.locator("#viewer canvas").screenshot())
        assert 0 < np.abs(first - last).mean() < 5

    def test_a_phone_shows_everything(self, browser: Any, address: str, blurry: Path) -> None:
        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        page = opened(browser, address, **phone)
        assert page.text_content("#choose") == "Tap to choose"
        deblur(page, blurry)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        for name in ("fit", "full", "start-over", "add", "save", "format"):
            box = page.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 844
            assert box["height"] >= 44

    def test_two_fingers_zoom(self, browser: Any, address: str, blurry: Path) -> None:
        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        page = opened(browser, address, **phone)
        deblur(page, blurry)
        session = page.context.new_cdp_session(page)
        for kind, apart in (("touchStart", 100), ("touchMove", 200), ("touchMove", 300)):
            points = [{"x": 195 - apart / 2, "y": 300, "id": 0}, {"x": 195 + apart / 2, "y": 300, "id": 1}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert page.get_attribute("#fit", "aria-pressed") == "false"
        assert page.get_attribute("#divider", "aria-valuenow") == "50"

    def test_it_speaks_the_visitors_language(self, browser: Any, address: str, blurry: Path) -> None:
        page = opened(browser, address, locale="de-DE")
        assert page.text_content("#choose") == "Fotos wählen"
        assert page.get_attribute("html", "lang") == "de"
        page.set_input_files("#file", blurry)
        status(page, "Fertig")
        page.select_option("#language", "zh")
        status(page, "完成")
        assert page.text_content("#save") == "保存"

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(("width", "height"), [(1280, 800), (1366, 650), (390, 844)])
    def test_axe_finds_nothing(
        self, browser: Any, address: str, blurry: Path, scheme: str, width: int, height: int
    ) -> None:
        page = opened(browser, address, color_scheme=scheme, viewport={"width": width, "height": height})
        page.evaluate((ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js").read_text())

        def violations() -> list[Any]:
            found = page.evaluate("axe.run()")["violations"]
            return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]

        assert violations() == []
        page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"none"})
        page.wait_for_selector("#alert:not([hidden])")
        assert violations() == []
        deblur(page, blurry)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = page.locator("#save").bounding_box()
        assert box["y"] + box["height"] <= height
        page.set_input_files("#file", blurry)
        page.click("#details summary")
        assert violations() == []

    def test_a_screen_reader_is_told(self, page: Any, blurry: Path) -> None:
        deblur(page, blurry)
        tree = page.locator("body").aria_snapshot()
        for words in ('slider "Divider', 'button "Save"', "status: Done", 'img "The photo"', 'combobox "Format"'):
            assert words in tree, tree
        page.keyboard.press("Tab")  # nothing hidden takes the focus
        for _ in range(12):
            assert page.evaluate("document.activeElement.checkVisibility()")
            page.keyboard.press("Tab")


class TestKeeping:
    pytestmark = in_chromium

    def test_nothing_is_sent_and_nothing_can_be(self, page: Any, blurry: Path) -> None:
        requests: list[str] = []
        page.context.on("request", lambda request: requests.append(request.url))
        deblur(page, blurry)
        assert [url for url in requests if not url.startswith("blob:")] == []
        assert page.evaluate("() => fetch('http://localhost:9/').then(() => false, () => true)")
        page.complaints.clear()  # that this was blocked

    def test_it_works_offline_after_one_visit(self, browser: Any, blurry: Path) -> None:
        with served() as address:
            page = opened(browser, address)
            kept_in_full(page)
        page.reload()  # there is no server any more
        page.wait_for_selector("html[data-runtime]")
        deblur(page, blurry)

    def test_a_host_without_headers_gets_threads_before_the_photo_is_asked_for(self, browser: Any) -> None:
        with plainly_served(DIST) as address:
            page = browser.new_context().new_page()
            loads: list[str] = []
            page.on("load", lambda page: loads.append(page.url))
            page.goto(address)
            page.locator("#choose", has_text="Choose").wait_for()
            assert page.evaluate("crossOriginIsolated")
            page.wait_for_selector("html[data-runtime]")
            page.wait_for_timeout(3000)
            assert len(loads) == 2

    def test_a_new_version_fetches_what_changed_and_works_offline(
        self, browser: Any, tmp_path: Path, blurry: Path
    ) -> None:
        folder = tmp_path / "page"
        shutil.copytree(DIST, folder)
        with served(folder) as address:
            context = browser.new_context(locale="en-GB")
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector("html[data-runtime]")
            kept_in_full(page)
            page.close()
            style = folder / "style.css"
            style.write_text(style.read_text() + "h1 { color: rgb(1, 2, 3); }")
            renew(folder, "style.css")
            asked: list[str] = []
            context.on("request", lambda request: request.service_worker and asked.append(request.url))
            page = context.new_page()
            page.goto(address)
            page.evaluate("navigator.serviceWorker.ready.then((found) => found.update())")
            page.wait_for_function("navigator.serviceWorker.getRegistration().then((found) => found.waiting)")
            page.close()
            page = context.new_page()
            page.wait_for_timeout(2000)  # the new one takes over when the old page is gone
            page.goto(address)
            page.wait_for_selector("html[data-runtime]")
            assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
            assert any(name.endswith("style.css") for name in asked)
            assert not [name for name in asked if name.endswith((".wasm", ".onnx"))]
        page.reload()
        page.wait_for_selector("html[data-runtime]")
        deblur(page, blurry)
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"

    def test_an_unsaved_photo_is_not_lost_by_closing(self, page: Any, blurry: Path, tmp_path: Path) -> None:
        deblur(page, blurry)
        asked: list[str] = []

        def stay(dialog: Any) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        page.click("#start-over")
        assert asked == ["confirm"]
        assert page.is_visible("#save")
        saved(page, tmp_path)
        page.click("#start-over")
        assert asked == ["confirm"]
        assert page.is_visible("#choose")

    def test_it_can_be_installed(self, page: Any, address: str) -> None:
        found = page.context.new_cdp_session(page).send("Page.getInstallabilityErrors")
        assert [error["errorId"] for error in found["installabilityErrors"] if error["errorId"] != "in-incognito"] == []
        size = json.loads((DIST / "app.webmanifest").read_text())["icons"]
        for icon in size:
            if icon["sizes"] != "any":
                assert "x".join(map(str, Image.open(DIST / icon["src"]).size)) == icon["sizes"]


def kept_in_full(page: Any) -> None:
    """Wait until the service worker keeps the runtime and the networks."""
    page.wait_for_function(
        """async () => {
            const kept = (await (await caches.open("golfdeblur")).keys()).map(({ url }) => url);
            return ["threaded.wasm?", "F.int8.onnx?", "G.int8.onnx?", "model.json?", "main.js?"].every(
                (end) => kept.some((url) => url.includes(end)));
        }""",
        timeout=1000 * GUARD_S,
    )


def renew(folder: Path, name: str) -> None:
    """Give a changed file its new hash, as a build does."""
    import hashlib

    worker = folder / "sw.js"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    worker.write_text(re.sub(rf'("{re.escape(name)}": ")\w+', rf"\g<1>{digest}", worker.read_text()))


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
