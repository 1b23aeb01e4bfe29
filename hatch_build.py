"""The page that a package index shows: README.md, whose pictures and links lead to the repository it was built from.

A workflow on GitHub says which that is. A wheel that is built elsewhere has no pictures and no links into the tree.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
"""A picture or link of Markdown to a file of the tree."""


class Hook(MetadataHookInterface):
    """Fill in the readme and the addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write both into `metadata`."""
        server, name, commit = (os.environ.get(f"GITHUB_{key}") for key in ("SERVER_URL", "REPOSITORY", "SHA"))
        repository = f"{server}/{name}" if server and name and commit else None
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": page(text, repository, commit)}
        places = {"Source": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"}
        metadata["urls"] = {key: f"{repository}{path}" for key, path in places.items()} if repository else {}


def page(text: str, repository: str | None, commit: str | None) -> str:
    """Return Markdown whose links into the tree lead to `repository` at `commit`, or are gone without one."""

    def absolute(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        if repository is None:
            return "" if mark else label
        return f"{mark}[{label}]({repository}/{'raw' if mark else 'blob'}/{commit}/{target})"

    return LINK.sub(absolute, text)
