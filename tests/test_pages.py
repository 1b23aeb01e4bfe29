"""What the pages say: links lead somewhere, sentences are short, the card's figures are those that were measured."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from golfdeblur import cli  # noqa: F401 (its modules add their commands)
from golfdeblur.cli.app import app

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "research" / "results.json"
DOCS = [
    "index",
    "gallery",
    "library",
    "tutorial-photos",
    "tutorial-training",
    "training",
    "performance",
    "experiments",
    "paper-map",
]
SHORT = [
    ROOT / "README.md",
    ROOT / "MODEL_CARD.md",
    *(ROOT / "docs" / f"{name}.md" for name in DOCS),
    *sorted(ROOT.glob("docs/adding/*.md")),
]
"""The pages whose sentences are counted."""
LINKED = [
    *SHORT[:2],
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("research/*.md")),
    ROOT / "examples" / "README.md",
]
LONGEST = 25
"""Words of a sentence."""
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")

pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="the source distribution has no docs/ and research/")


def prose(page: str) -> Iterator[str]:
    """Yield the paragraphs and list items of Markdown: no code, tables, headings, YAML or comments."""
    page = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
    page = re.sub(r"```.*?```|<!--.*?-->", "", page, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )", page):
        if block.strip() and not block.startswith("    ") and not re.match(r"\s*[|#<:!]", block):
            yield re.sub(r"`[^`]+`", "code", LINK.sub(r"\1", " ".join(block.split())))


def sentences(page: str) -> Iterator[str]:
    """Yield the sentences of Markdown's prose."""
    for block in prose(page):
        yield from re.split(r"(?<=[.!?])[*\")]*\s+(?=\S)", block)


def test_a_long_sentence_is_seen() -> None:
    page = "---\nhead: x\n---\n# No heading\n\nOne two. Three `a b c` [four](x.md)\nfive.\n\n* Six: 0.5 dB.\n\n"
    page += "| no | table |\n\n    no code\n"
    assert list(sentences(page)) == ["One two.", "Three code four five.", "* Six: 0.5 dB."]


@pytest.mark.parametrize("path", SHORT, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_sentence_is_long(path: Path) -> None:
    long = [sentence for sentence in sentences(path.read_text(encoding="utf-8")) if len(sentence.split()) > LONGEST]
    assert not long, f"over {LONGEST} words: {long}"


@pytest.mark.parametrize("path", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for _, target in LINK.findall(path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def commands() -> list[str]:
    """Return every `golf` command that the pages print in a block of code."""
    text = "\n".join(
        page.read_text(encoding="utf-8").replace("\\\n", " ") for page in [*SHORT, *ROOT.glob("docs/*.md")]
    )
    return sorted(set(re.findall(r"^    (?:torchrun .* -m )?(golf(?:deblur)? .*)$", text, re.MULTILINE)))


@pytest.mark.parametrize("line", commands())
def test_commands_have_the_options_that_pages_give_them(line: str) -> None:
    """A group takes its own command where none is named: golf train RECIPE, golf bench."""
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    options = {option for parameter in command.params for option in parameter.opts}
    while words and (inner := getattr(command, "commands", {})):
        name = words.pop(0) if words[0] in inner else "run" if "run" in inner else "speed"
        assert name in inner, words
        command = inner[name]
        options |= {option for parameter in command.params for option in parameter.opts}
    for word in words:
        assert not word.startswith("-") or word in options | {"-", "-h", "--help"}, word  # - is a pipe


def test_the_cards_figures_are_the_measured_ones() -> None:
    _, head, _ = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8").split("---\n", 2)
    card, measured = yaml.safe_load(head), json.loads(RESULTS.read_text(encoding="utf-8"))
    assert {"license", "library_name", "pipeline_tag", "datasets", "metrics", "model-index"} <= set(card)
    for model in card["model-index"]:
        for result in model["results"]:
            name = f"{result['dataset']['type']}-{model['name'].removeprefix('golfdeblur-')}-3"
            psnr, ssim = result["metrics"]
            assert psnr["value"] == round(measured[name]["mean"]["psnr"], 2)
            assert ssim["value"] == round(measured[name]["mean"]["ssim"]["gaussian-3d"], 4)


def entries(cell: str) -> list[str]:
    """Return the entries that the last cell of the index names: "11-25, later; 11-28" are two."""
    return [part.strip().replace(":", ",") for part in re.split(r";| to ", cell)]


def test_the_index_of_research_leads_to_entries() -> None:
    logs = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("research/20*.md")))
    headings = [heading.replace(":", ",") for heading in re.findall(r"^## 2026-(.*)$", logs, re.MULTILINE)]
    rows = re.findall(
        r"^\|(?! question|---).*\| ([^|]+) \|$",
        (ROOT / "research" / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) > 30
    for entry in [entry for row in rows for entry in entries(row)]:
        assert any(heading.startswith(entry) for heading in headings), entry


def test_the_cards_shares_are_the_recipes() -> None:
    recipe = pytest.importorskip("golfdeblur.learning.recipe")  # needs torch
    shares = re.findall(
        r"^\| [^|]+ \| [^|]+ \| (\d+) % \|", (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    sources = recipe.read_recipe(ROOT / "recipes" / "fast-f.toml").sources
    assert [int(share) for share in shares] == [round(100 * source.weight) for source in sources]
