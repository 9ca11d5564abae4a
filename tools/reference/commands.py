"""Every command with its options, from click."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from scheduler.juju.action import ACTIONS
from tools.programs import contexts
from tools.reference.markdown import one_line, table

INTRODUCTION = """\
# Commands

Results go to stdout: as a table, with `-f json` or `yaml` as a document, with `-f csv` or `value`
as rows. `-c` chooses columns, `--sort-column` sorts. Logs and progress go to stderr: text and
progress bars on a terminal, JSON lines otherwise. A failed command prints `error:` and `hint:` and
ends with one of the [exit codes](exit-codes.md).
Options of `retrofit` itself may stand before or after the command. `promote`, `rollback`,
`retire` and `rollover` ask for confirmation; without a terminal they need `--yes`. The same texts
are in the man pages: `man retrofit`, `man retrofit-run-once`.
"""
ACTION = """\
## retrofit-charm-action

Runs one action of a Juju charm; any charm with retrofit on its machine may call it. It takes the
name of the action from `JUJU_ACTION_NAME`, reads parameters by `action-get`, reports progress by
`action-log`, sets flat results by `action-set` and fails by `action-fail` with the message and
hint of the command line. [The charm](charm.md) lists the parameters.
"""


def body() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for context in contexts():
        parts += _section(context)
    parts.append(ACTION)
    rows = [(f"`{name}`", one_line(function.__doc__)) for name, function in ACTIONS.items()]
    parts.append(table(("Action", "Description"), rows))
    return "\n".join(parts)


def _section(context: click.Context) -> Iterator[str]:
    command = context.command
    level = "##" if context.parent is None else "###"
    yield f"{level} {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {usage}\n```\n"
    yield _text(command.help)
    options = [
        tuple(_cells(record))
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and "--help" not in parameter.opts
        and (record := parameter.get_help_record(context)) is not None
    ]
    if options:
        yield table(("Option", "Description"), options)
    if command.epilog:
        yield _text(command.epilog)


def _cells(record: tuple[str, str]) -> Iterator[str]:
    option, text = record
    yield f"`{option}`"
    yield one_line(text)


def _text(help_text: str | None) -> str:
    """Return a help text as Markdown; paragraphs that click does not wrap become code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(help_text or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            paragraphs.append("```\n" + paragraph.removeprefix("\b\n").rstrip() + "\n```")
        else:
            paragraphs.append(paragraph.rstrip())
    return "\n\n".join(paragraphs) + "\n"
