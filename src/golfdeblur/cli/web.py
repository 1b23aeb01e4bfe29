"""`golf web`: the page that deblurs in the browser, served on this computer."""

from __future__ import annotations

import functools
import importlib.util
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import typer

from golfdeblur.cli.app import app
from golfdeblur.errors import ConfigError

CHECKOUT = Path(__file__).parents[3] / "web" / "dist"


@app.command("web")
def web_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    folder: Annotated[Path | None, typer.Option(help="The built page, if it lies elsewhere.")] = None,
) -> None:
    """Serve the page on this computer only, until Ctrl-C (needs the package golfdeblur-web, or `make web`)."""
    root = _page() if folder is None else folder
    if not (root / "index.html").is_file():
        raise ConfigError(f"{root} holds no built page; 'make web' builds it in a checkout.")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(root)))
    except OSError as error:
        raise ConfigError(f"Port {port} cannot be used ({error.strerror}); give another --port.") from error
    with server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Ended.")


def _page() -> Path:
    """Return the folder of the installed page, else of this checkout's."""
    found = importlib.util.find_spec("golfdeblur_web")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent
    if CHECKOUT.is_dir():
        return CHECKOUT
    raise ConfigError("The page is not installed; pip install golfdeblur-web, or 'make web' in a checkout.")


class _Handler(SimpleHTTPRequestHandler):
    """Files with the headers without which WASM has no threads."""

    extensions_map = {  # noqa: RUF012 (the base class's own form)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for every file."""
