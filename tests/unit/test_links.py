"""Links of pages that people read on the repository's host lead to files and headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "charm/README.md",
    ROOT / "monitoring/README.md",
]


def links(text: str) -> list[str]:
    """The links of a page that lead to files of the repository; code is left out."""
    prose = re.sub(r"(?ms)^```.*?^```|^ {4}.*?$|`[^`\n]*`", "", text)
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """The anchors that the repository's host gives to the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")
        for heading in headings
    }


def is_found(link: str, page: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = [link for link in links(page.read_text()) if not is_found(link, page)]
    assert broken == []


def test_links_are_found() -> None:
    text = "[a](b.md#c) `[x](y)` <https://x>\n\n    [code](no)\n\n[d](https://e) [f](g)"
    assert links(text) == ["b.md#c", "g"]
    assert anchors("# The `[x]` page, again\n## b") == {"the-x-page-again", "b"}


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text()
    named = set(re.findall(r"(?m)^([a-z][a-z/-]+)$", index))
    for page in ROOT.glob("docs/**/*.md"):
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        assert name == "index" or name in named, name
