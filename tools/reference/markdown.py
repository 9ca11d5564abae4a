"""Markdown that GitHub and the site's builder read alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ORIGIN = "<!-- Generated from the code: change it there, then run `make reference`. -->"


def page(body: str) -> str:
    """Return a whole page: where it comes from, then its body."""
    return f"{ORIGIN}\n\n{body.strip()}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell is Markdown of one line."""
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Return text as code, or nothing for an empty text."""
    return f"`{text}`" if text else ""


def one_line(text: str | None) -> str:
    """Return a text of several lines as one."""
    return " ".join((text or "").split())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
