"""The command lines that are documented, and the contexts of their commands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from retrofit import cli  # noqa: F401  (it registers the commands)
from retrofit.cli.root import retrofit
from scheduler.cli import scheduler

PROGRAMS: dict[str, click.Group] = {"retrofit": retrofit, "retrofit-scheduler": scheduler}


def contexts() -> Iterator[click.Context]:
    """Yield the context of every program and of every command that is not hidden, in order."""
    for name, program in PROGRAMS.items():
        yield from _contexts(program, name, None)


def _contexts(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[click.Context]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    for word, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _contexts(below, word, context)
