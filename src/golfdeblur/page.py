"""The page that deblurs in the browser: where it lies, and a server for this computer alone."""

from __future__ import annotations

import functools
import importlib.util
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from golfdeblur.errors import ConfigError

CHECKOUT = Path(__file__).parents[2] / "web" / "dist"


def find_page() -> Path:
    """Return the folder of the installed page, else of this checkout's. Raises ConfigError if there is none."""
    found = importlib.util.find_spec("golfdeblur_web")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent
    if CHECKOUT.is_dir():
        return CHECKOUT
    raise ConfigError("The page is not installed; pip install golfdeblur-web, or 'make web' in a checkout.")


def serve(root: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the page in `root` on localhost, 0 for any free port.

    Raises ConfigError where there is no page or the port cannot be used.
    """
    if not (root / "index.html").is_file():
        raise ConfigError(f"{root} holds no built page; 'make web' builds it in a checkout.")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(root)))
    except OSError as error:
        raise ConfigError(f"Port {port} cannot be used ({error.strerror}); give another --port.") from error


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
