"""Forms of results: tables for people; JSON, YAML, CSV and bare values for programs.

rich, csv, json and PyYAML do the formatting; CONTRIBUTING.md has the reason for them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrofit.cli.form import Form
from retrofit.errors import ConfigError
from retrofit.runs.report_document import ErrorDocument, SourceDocument
from retrofit.system.escape import escaped

SCHEMA_VERSION = 2
"""Of the envelope of JSON and YAML; keys are only added within one."""
NARROW = 120
"""Columns below which a table leaves out what matters less."""
UNLIMITED = 100_000
WHOLE = frozenset({"id", "run", "image", "promoted image", "amphora"})
"""Columns with ids: they are never cut, others fold."""


def structured(document: Any, output: Form | str) -> None:
    """Print a document of JSON types as JSON or YAML."""
    text = json.dumps(document, indent=2)
    if Form.of(output).format == "json":
        click.echo(text)
    else:
        # By way of JSON: an enumeration's word is a string there, and nothing at all to YAML.
        click.echo(yaml.safe_dump(json.loads(text), sort_keys=False), nl=False)


def enveloped(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the documents of targets in their one envelope, whatever their number."""
    return {"schema_version": SCHEMA_VERSION, "targets": list(documents)}


def listed(
    rows: Sequence[Mapping[str, Any]],
    form: Form,
    *,
    usual: Sequence[str] | None = None,
) -> None:
    """Print rows: the `usual` columns (None: all), or those that were asked for.

    A name counts without regard to case, `_` and `-`. Raises ConfigError for an unknown column.
    """
    asked = [*form.columns, *([form.sort] if form.sort is not None else [])]
    # Without a row nobody knows the columns: what is asked for is there, and empty.
    known = list(dict.fromkeys(name for row in rows for name in row)) or [*(usual or ()), *asked]
    chosen = [_column(name, known) for name in form.columns] or list(usual or known)
    ordered = list(rows)
    if form.sort is not None:
        key = _column(form.sort, known)
        ordered.sort(key=lambda row: _sort_key(row.get(key)))
    cells = [[row.get(name) for name in chosen] for row in ordered]
    match form.format:
        case "json" | "yaml":
            structured([dict(zip(chosen, row, strict=True)) for row in cells], form)
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(chosen)
            writer.writerows([[_flat(cell) for cell in row] for row in cells])
        case "value":
            for row in cells:
                click.echo(" ".join(_flat(cell) for cell in row))
        case _:
            table(chosen, cells)


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table: boxed on a terminal, plain in a pipe. Ids are never cut."""
    names = list(columns)
    shown = new_table()
    lines = [[_flat(cell, separator="\n") for cell in row] for row in rows]
    for place, name in enumerate(names):
        whole = name.lower() in WHOLE
        width = max((len(row[place]) for row in lines), default=0) if whole else None
        shown.add_column(name, no_wrap=whole, overflow="fold", min_width=width)
    for line in lines:
        add_row(shown, *line)
    console().print(shown)


def new_table(*columns: str) -> Table:
    """Return an empty table, with a box where a person sees it."""
    made = Table(box=None, pad_edge=False) if not console().is_terminal else Table()
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def fields(known: Mapping[str, Any]) -> None:
    """Print fields and their values as two columns; empty values are left out."""
    table = new_table()
    table.add_column("Field", no_wrap=True)
    table.add_column("Value", overflow="fold")
    for name, value in known.items():
        if value in (None, "", [], ()):
            continue
        add_row(table, name, _flat(value, separator="\n"))
    console().print(table)


def add_row(table: Table, *cells: object) -> None:
    """Add a row as it is: nothing in it is markup to us, or a command to the terminal."""
    table.add_row(*(escape(escaped(str(cell))) for cell in cells))


class _Stdout(Console):
    """A console that reports a reader that went away as all other writes do."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError; rich would end the process with 1, our code of a bug."""
        raise BrokenPipeError


def console() -> Console:
    """Return a console that wraps on a terminal and keeps lines whole in a file."""
    console = _Stdout(highlight=False, soft_wrap=False)
    return console if console.is_terminal else _Stdout(highlight=False, width=UNLIMITED)


def is_narrow() -> bool:
    """Return True if the terminal has no room for every column."""
    return console().is_terminal and console().width < NARROW


def source_line(source: SourceDocument | None) -> str | None:
    """Name a source in one line."""
    return None if source is None else f"{source.product} {source.version} ({source.id})"


def error_lines(error: ErrorDocument | None) -> list[str] | None:
    """Return an error of a report as lines."""
    if error is None:
        return None
    return [error.message, *([f"hint: {error.hint}"] if error.hint else [])]


def _column(name: str, known: Iterable[str]) -> str:
    names = list(known)
    found = next((each for each in names if _plain(each) == _plain(name)), None)
    if found is None:
        raise ConfigError(f"there is no column {name!r}", hint=f"columns are {', '.join(names)}")
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def _flat(cell: object, separator: str = ", ") -> str:
    """Return a cell as one text; what is not there is empty."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, list | tuple):
        return separator.join(_flat(each) for each in cell)
    text = str(cell)
    # A tenant's text must not begin a new record, nor command a terminal.
    return text if separator == "\n" else escaped(text.replace("\n", " "))


def _sort_key(cell: object) -> tuple[int, float, str]:
    if cell is None:
        return (0, 0.0, "")
    if isinstance(cell, int | float):
        return (1, float(cell), "")
    return (2, 0.0, _flat(cell))
