"""What the site needs beyond MkDocs: pages from outside docs/, those that may be missing, and a check of all links.

MkDocs calls these functions by their names (mkdocs.yml, `hooks`).
"""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LOGS = sorted((str(path.relative_to(ROOT)) for path in ROOT.glob("research/20*.md")), reverse=True)
OUTSIDE = [
    "MODEL_CARD.md",
    "research/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("research/[a-z]*.md")),
    *LOGS,
]
"""Pages that lie elsewhere in the repository; on the site they lie under the same names."""
WITHOUT_SEARCH = re.compile(r"research/\d")
"""The logs, which would be most of what a search finds."""
APP = ROOT / "web" / "dist"


def on_config(config):
    """Put the pages of research/ into the navigation, and among the guides those of docs/ that it does not name."""
    named, sections = str(config.nav), {title: pages for section in config.nav for title, pages in section.items()}
    pages = sorted(str(path.relative_to(config.docs_dir)) for path in Path(config.docs_dir).rglob("*.md"))
    sections["Guides"] += [page for page in pages if f"'{page}'" not in named]
    sections["Research"] += OUTSIDE[1:]
    return config


def on_files(files, config):
    """Add the pages of `OUTSIDE`, and the plain files of research/ that they link to."""
    linked = [str(path.relative_to(ROOT)) for path in ROOT.glob("research/*.json")]
    for name in OUTSIDE + linked:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lead links between docs/ and the rest of the repository to where the pages lie on the site."""
    if WITHOUT_SEARCH.match(page.file.src_uri):
        page.meta["search"] = {"exclude": True}
    if page.file.src_uri == "index.md" and (APP / "index.html").exists():
        markdown += '\n<a href="app/index.html">Try it in this browser</a>: photos do not leave the computer.\n'
    if page.file.src_uri in OUTSIDE:
        return re.sub(r"(\]\((?:\.\./)?)docs/", r"\1", markdown)
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(up)}(research/|MODEL_CARD\.md)", rf"]({up[3:]}\1", markdown)


def on_post_build(config):
    """Put the page for the browser beside the site, where it is built, and check every link.

    Raises PluginError for a link that leads nowhere, and for anything that is loaded from elsewhere.
    """
    site = Path(config.site_dir)
    if (APP / "index.html").exists():
        shutil.copytree(APP, site / "app", dirs_exist_ok=True)
    (site / ".nojekyll").touch()
    pages = {path: _Page(path) for path in site.rglob("*.html") if "app" not in path.relative_to(site).parts}
    wrong = [wrong for page in pages.values() for wrong in page.wrong(pages, site)]
    if wrong:
        raise PluginError("\n".join(sorted(set(wrong))))


class _Page(HTMLParser):
    """The places of a built page and what it links to and loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.places, self.links, self.loads = path, set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        self.loads += [found[name] for name in ("src", "srcset") if found.get(name)]
        if tag == "link" and found.get("rel") != "canonical" and found.get("href"):
            self.loads.append(found["href"])

    def wrong(self, pages, site):
        """Yield a sentence for each link that leads nowhere."""
        for target in self.links + self.loads:
            parts = urlsplit(target)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if target in self.loads:
                    yield f"{self.path}: {target} is loaded from elsewhere"
                continue
            base = site if parts.path.startswith("/") else self.path.parent
            path = (base / unquote(parts.path.lstrip("/"))).resolve() if parts.path else self.path
            path = path / "index.html" if path.is_dir() else path
            if not path.exists():
                if "app" not in parts.path.split("/"):
                    yield f"{self.path}: {target} leads nowhere"
            elif parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].places | {"__skip"}:
                yield f"{self.path}: {target} names no place"
