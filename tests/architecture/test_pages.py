"""The README is short, every link in the pages leads somewhere, and the glossary has its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
WORDS = (
    "ID", "OOD", "ECE", "Chance level", "Alias", "Checkpoint", "Calibrator", "Coverage",
    "Prediction set", "e-value", "σ_min", "Temperature", "Calibration split",
    "Calibration evidence", "Shift score", "Abstention", "Prediction log", "Fence", "Lease",
    "Preset", "Suite",
)  # fmt: skip


def anchors(page: Path) -> set[str]:
    """The names under which headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_listed() -> None:
    listed = set(LINK.findall((DOCS / "README.md").read_text(encoding="utf-8")))
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= listed


def test_the_readme_is_for_two_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    for words in ("in distribution", "out of distribution", "expected calibration error"):
        assert words in text
    assert "docs/glossary.md" in text


@pytest.mark.parametrize("word", WORDS)
def test_the_glossary_has_the_word(word: str) -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    assert re.search(rf"^\*\*{re.escape(word)}[.,]", text, re.MULTILINE)
