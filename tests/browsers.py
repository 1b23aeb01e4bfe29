"""What the page's tests need: the page on a server, Chromium by Playwright, and Firefox by WebDriver BiDi."""

import base64
import contextlib
import functools
import http.server
import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import GUARD_S

ROOT = Path(__file__).parent.parent
DIST = ROOT / "web" / "dist"
CHROMIUM = shutil.which("chromium")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]

slow = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DIST / "index.html").exists(), reason="the page is not built: make web"),
]
in_chromium = [*slow, pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium")]
in_firefox = [*slow, pytest.mark.skipif(FIREFOX is None, reason="install Debian's firefox-esr")]


@contextlib.contextmanager
def served(folder: Path = DIST) -> Iterator[str]:
    """Yield the address of the page, as `golf web` serves it."""
    command = [sys.executable, "-m", "golfdeblur", "web", "--no-browser", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


@contextlib.contextmanager
def plainly_served(folder: Path) -> Iterator[str]:
    """Yield the address of the page on a host that sends no headers of its own."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """Yield a Playwright browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *arguments])
        yield browser
        browser.close()


def opened(browser: Any, address: str, **options: Any) -> Any:
    """Return a page of `browser` that is ready; what it says on its console or throws is in its `complaints`."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}).new_page()
    page.set_default_timeout(1000 * GUARD_S)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.goto(address)
    page.wait_for_selector("html[data-runtime]", timeout=1000 * GUARD_S)
    return page


def status(page: Any, words: str, seconds: float = GUARD_S) -> None:
    """Wait until the page says so."""
    page.locator("#status", has_text=words).wait_for(timeout=1000 * seconds)


def deblur(page: Any, path: Path) -> None:
    """Give the page a photo and wait until it is done."""
    page.set_input_files("#file", path)
    status(page, "Done")


def saved(page: Any, folder: Path, button: str = "#save") -> Path:
    """Press the button and return the file that comes."""
    with page.expect_download() as found:
        page.click(button)
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


class Firefox:
    """Debian's Firefox by WebDriver BiDi, which it speaks itself: no driver is needed."""

    def __init__(self, folder: Path) -> None:
        from websockets.sync.client import connect

        assert FIREFOX is not None
        profile, self.downloads = folder / "profile", folder / "downloads"
        profile.mkdir()
        self.downloads.mkdir()
        preferences = {
            "browser.download.folderList": 2,
            "browser.download.dir": str(self.downloads),
            "browser.shell.checkDefaultBrowser": False,
            "datareporting.policy.dataSubmissionEnabled": False,
            "app.update.enabled": False,
            "intl.accept_languages": "en-GB",
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (profile / "user.js").write_text("\n".join(lines))
        command = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", str(profile)]
        said = folder / "stderr"
        with said.open("w") as file:
            self.process = subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL)
        end = time.monotonic() + GUARD_S
        while not (found := re.search(r"ws://\S+", said.read_text())) and time.monotonic() < end:
            time.sleep(0.1)
        assert found, said.read_text()
        self.socket = connect(f"{found[0]}/session", max_size=None)
        self.numbers = itertools.count()
        self.send("session.new", capabilities={})
        self.context = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def send(self, method: str, **parameters: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=GUARD_S))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, address: str, *, width: int = 1280, height: int = 800) -> None:
        size = {"width": width, "height": height}
        self.send("browsingContext.setViewport", context=self.context, viewport=size)
        self.send("browsingContext.navigate", context=self.context, url=address, wait="complete")
        self.until("document.documentElement.dataset.runtime")

    def ask(self, expression: str) -> Any:
        """Return what JavaScript makes of it, by JSON."""
        answer = self.send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def until(self, expression: str, seconds: float = GUARD_S) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # the page may be loading anew
                if value := self.ask(expression):
                    return value
            time.sleep(0.2)
        raise AssertionError(f"never true: {expression}")

    def take(self, path: Path) -> None:
        """Give the page a photo."""
        found = self.send(
            "script.evaluate",
            expression="document.getElementById('file')",
            target={"context": self.context},
            awaitPromise=False,
        )
        element = {"sharedId": found["result"]["sharedId"]}
        self.send("input.setFiles", context=self.context, element=element, files=[str(path)])

    def saved(self) -> Path:
        """Press "Save" and return the file that comes."""
        self.ask("document.getElementById('save').click()")
        name = self.until("document.getElementById('status').textContent.match(/^Saved as (.*)[.]$/)?.[1]")
        path, end = self.downloads / name, time.monotonic() + GUARD_S
        while time.monotonic() < end and not (path.exists() and path.stat().st_size):
            time.sleep(0.1)
        return path

    def screenshot(self) -> bytes:
        return base64.b64decode(self.send("browsingContext.captureScreenshot", context=self.context)["data"])

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=GUARD_S)
