"""What the pages for operators give to type, so that tests type the same."""

from __future__ import annotations

import re
import textwrap

from tests.devcloud.places import CHECKOUT

PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "docs" / "operations.md",
    *sorted((CHECKOUT / "docs" / "how-to").glob("*.md")),
]


def text() -> str:
    """All of the pages."""
    return "\n".join(page.read_text() for page in PAGES)


def blocks() -> list[str]:
    """Every indented block of the pages, without its indent."""
    found = re.findall(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", text(), flags=re.MULTILINE)
    return [textwrap.dedent(each) for each in found]


def block_with(text: str) -> str:
    """The one block that has this text in it."""
    (found,) = (each for each in blocks() if text in each)
    return found
