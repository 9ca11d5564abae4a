"""What docs/operations.md tells operators to type, so that tests type the same."""

from __future__ import annotations

import re
import textwrap

from tests.devcloud.places import CHECKOUT

PAGE = CHECKOUT / "docs" / "operations.md"


def blocks() -> list[str]:
    """Every indented block of the page, without its indent."""
    found = re.findall(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", PAGE.read_text(), flags=re.MULTILINE)
    return [textwrap.dedent(each) for each in found]


def block_with(text: str) -> str:
    """The one block that has this text in it."""
    (found,) = (each for each in blocks() if text in each)
    return found
