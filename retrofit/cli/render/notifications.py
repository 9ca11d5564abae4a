"""What waits to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from retrofit.render.form import add_row, console, fields, structured


def show_letters(
    tried: Mapping[str, str | None], waiting: Sequence[Mapping[str, Any]], output: str
) -> None:
    """Print how a test went, and what still waits to be delivered."""
    if output != "table":
        test = {name: {"delivered": said is None, "error": said} for name, said in tried.items()}
        structured({"test": test or None, "waiting": [dict(each) for each in waiting]}, output)
        return
    if tried:
        fields({name: said or "delivered" for name, said in tried.items()})
    if not waiting:
        fields({"waiting": "nothing"})
        return
    table = Table("Target", "What", "Since", "For", "Attempts", "Last answer")
    for letter in waiting:
        change = letter["change"]
        add_row(
            table,
            change["target"],
            change["event"],
            change["at"],
            ", ".join(letter["to"]),
            letter["attempts"],
            letter["last_error"] or "",
        )
    console().print(table)
