"""How answers are formed: tables for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrofit.visible import visible


def structured(document: Any, output: str) -> None:
    """Print a document of JSON types as JSON or YAML."""
    text = json.dumps(document, indent=2)
    if output == "json":
        click.echo(text)
    else:
        # By way of JSON: an enumeration's word is a string there, and nothing at all to YAML.
        click.echo(yaml.safe_dump(json.loads(text), sort_keys=False), nl=False)


def fields(known: dict[str, Any]) -> None:
    """Print what is known as two columns; empty values are left out."""
    table = Table("Field", "Value")
    for name, value in known.items():
        if value in (None, "", [], ()):
            continue
        lines = [str(line) for line in value] if isinstance(value, list | tuple) else [str(value)]
        add_row(table, name, "\n".join(lines))
    console().print(table)


def add_row(table: Table, *cells: object) -> None:
    """Add a row as it is: nothing in it is markup to us, or a command to the terminal."""
    table.add_row(*(escape(visible(str(cell))) for cell in cells))


def console() -> Console:
    """Return a console that wraps on a terminal and keeps lines whole in a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def source_line(source: dict[str, Any] | None) -> str | None:
    """Name a source in one line."""
    if source is None:
        return None
    return f"{source['product']} {source['version']} ({source['id']})"


def error_lines(error: dict[str, Any] | None) -> list[str] | None:
    """Say an error of a report in lines."""
    if error is None:
        return None
    return [error["message"], *([f"hint: {error['hint']}"] if error["hint"] else [])]
