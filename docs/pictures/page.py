"""Make docs/pictures/page.png: the page in Chromium, with the example. Needs `make web` and the extra `browser`."""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """Write the picture."""
    command = [sys.executable, "-m", "golfdeblur", "web", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 850})
        page.goto(server.stdout.readline().split()[0])
        page.locator("#status", has_text="Ready").wait_for()
        page.set_input_files("#file", ROOT / "examples" / "walkway.jpg")
        page.locator("#status", has_text="Done").wait_for(timeout=120_000)
        page.screenshot(path=Path(__file__).parent / "page.png")
        browser.close()
        server.terminate()


main()
