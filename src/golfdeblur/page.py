"""The page that deblurs in the browser: where it lies, and a server for this computer alone."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import socketserver
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

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
        return _Server(("127.0.0.1", port), functools.partial(_Handler, directory=str(root)))
    except OSError as error:
        raise ConfigError(f"Port {port} cannot be used ({error.strerror}); give another --port.") from error


class _Server(ThreadingHTTPServer):
    """A server that looks up no name: the base class asks for that of its own address."""

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


class _Handler(SimpleHTTPRequestHandler):
    """The files of one folder, for pages of this server alone, with the headers without which WASM has no threads."""

    extensions_map = {  # noqa: RUF012 (the base class's own form)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }

    timeout = 60  # seconds that a silent connection is held

    def send_head(self) -> Any:
        """Answer GET and HEAD; another Host is that of a page elsewhere whose name was made to lead here."""
        host, _, port = self.headers.get("Host", "").partition(":")
        if host not in ("127.0.0.1", "localhost") or port != str(cast(_Server, self.server).server_port):
            self.send_error(403, "Only for pages of this server")
            return None
        root, place = Path(self.directory).resolve(), Path(self.translate_path(self.path))
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            if (place.resolve() / "index.html" if place.is_dir() else place.resolve()).is_relative_to(root):
                return super().send_head()
        self.send_error(404, "Not found")
        return None

    def list_directory(self, path: Any) -> None:
        """List no folder."""
        self.send_error(404, "Not found")

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for every file."""
