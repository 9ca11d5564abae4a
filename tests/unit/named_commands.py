"""Commands of retrofit that a person is told to type: where they stand, and what click says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from tools.programs import PROGRAMS

CALL = re.compile(r"(?:sudo |/opt/retrofit/bin/|\.venv/bin/|@BIN@/)*(retrofit(?:-scheduler)?) (.+)")
FILLED_IN = re.compile(r"\{.*\}")
"""What stands in a text for what is known when it is printed."""
END = re.compile(r"\s+#\s|\s*(?:&&|\|\||[|;>]|\d>)\s*|\s\.\.\.")
"""Where a command ends in a line of shell: a comment, the next command, a redirection."""


def commands_in(text: str, *, is_page: bool) -> Iterator[str]:
    """Yield the commands that a text names, in backticks or, in a page, as a line of code."""
    for quoted in re.findall(r"(?<!`)`([^`]+)`(?!`)|<code>([^<]+)</code>", text):
        call = CALL.fullmatch(" ".join("".join(quoted).split()))
        if call:
            yield f"{call[1]} {call[2]}"
    if is_page:
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            code = re.fullmatch(rf"(?: {{4,}}|\t|Exec\w+=-?|\$ ){CALL.pattern}", line)
            if code:
                yield f"{code[1]} {END.split(code[2])[0]}".strip()


def wrong(command: str) -> str | None:
    """Return what click would refuse in a command; None where it would take it.

    A command may stop before its arguments: `retrofit promote` names it, and no image.
    """
    try:
        _, _, rest = _parsed(command)
    except click.UsageError as error:
        return error.format_message()
    return f"what is {rest[0]!r}?" if rest else None


def missing(command: str) -> list[str]:
    """Return the arguments and options that a command would still ask for."""
    context, given, _ = _parsed(command)
    return [
        str(parameter.name)
        for parameter in context.command.params
        if parameter.required and not given.get(parameter.name or "")
    ]


def _parsed(command: str) -> tuple[click.Context, dict[str, object], list[str]]:
    """Return the last command, what it was given, and the words that nobody takes."""
    program, *words = shlex.split(re.sub(r"\{\{[^}]*\}\}", "{}", command))
    context = click.Context(PROGRAMS[program], info_name=program)
    while True:
        given, rest, _ = context.command.make_parser(context).parse_args(list(words))
        _require_values(context, given)
        if not isinstance(context.command, click.Group) or not rest:
            return context, given, rest
        name, below, words = context.command.resolve_command(context, rest)
        assert below is not None
        context = click.Context(below, info_name=name, parent=context)


def _require_values(context: click.Context, given: dict[str, object]) -> None:
    """Raise UsageError for a word that is none of a choice, or no number where one belongs."""
    for parameter in context.command.params:
        value = given.get(parameter.name or "")
        if not isinstance(value, str) or FILLED_IN.search(value) or value.isupper():
            continue
        if isinstance(parameter.type, click.Choice | click.IntRange):
            parameter.type.convert(value, parameter, context)
