"""`golf web`: the page that deblurs in the browser, served on this computer."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from golfdeblur.cli.app import app


@app.command("web")
def web_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    folder: Annotated[Path | None, typer.Option(help="The built page, if it lies elsewhere.")] = None,
) -> None:
    """Serve the page on this computer only, until Ctrl-C (needs the package golfdeblur-web, or `make web`)."""
    from golfdeblur import page

    with page.serve(folder or page.find_page(), port) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Ended.")
