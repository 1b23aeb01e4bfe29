"""What the pages say: links lead somewhere, sentences are short, the card's figures are those that were measured."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "research" / "results.json"
SHORT = [ROOT / "README.md", ROOT / "MODEL_CARD.md", ROOT / "docs" / "paper-map.md"]
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
    long = [sentence for sentence in sentences(path.read_text()) if len(sentence.split()) > LONGEST]
    assert not long, f"over {LONGEST} words: {long}"


@pytest.mark.parametrize("path", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for _, target in LINK.findall(path.read_text()):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_the_cards_figures_are_the_measured_ones() -> None:
    _, head, _ = (ROOT / "MODEL_CARD.md").read_text().split("---\n", 2)
    card, measured = yaml.safe_load(head), json.loads(RESULTS.read_text())
    assert {"license", "library_name", "pipeline_tag", "datasets", "metrics", "model-index"} <= set(card)
    for model in card["model-index"]:
        for result in model["results"]:
            name = f"{result['dataset']['type']}-{model['name'].removeprefix('golfdeblur-')}-3"
            psnr, ssim = result["metrics"]
            assert psnr["value"] == round(measured[name]["mean"]["psnr"], 2)
            assert ssim["value"] == round(measured[name]["mean"]["ssim"]["gaussian-3d"], 4)
