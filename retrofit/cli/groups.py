"""The commands of `retrofit --help` by what they are for, each with a line that is never cut."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Look": {
        "status": "State of every target",
        "plan": "What run-once would do now, and why",
        "list": "Amphora images, newest first",
        "show": "Everything about one image",
        "diff": "What differs between two images",
        "doctor": "Try all that a run needs, and run nothing",
        "audit": "Which images load balancers run on",
        "history": "Past runs and commands",
        "logs": "Report, events and files of a run",
    },
    "Act": {
        "run-once": "Bring every target up to date",
        "promote": "Promote one image",
        "rollback": "Go back to the image before",
        "repair": "Bring an image back where Octavia finds none",
        "rollover": "Move load balancers to the promoted image",
        "retire": "Delete images that retention lets go",
        "adopt": "Take over images of another installation",
        "pause": "Stop all runs until a time",
        "resume": "End a pause",
        "cancel": "End the run that goes on",
    },
    "Files": {
        "build": "Retrofit an image file, without a cloud",
        "verify": "Verify an image: a file, or one in Glance",
    },
    "Set up": {
        "config": "Write, check or show the configuration",
        "notify": "Deliver queued notifications, or a test",
        "completion": "Completion for bash, zsh or fish",
    },
}


LONGEST = 60
"""Letters of a command's line: with its name they fit into 80 columns."""


class ReaderGoneError(Exception):
    """Nobody reads our output any more. click would end with 1 for it, our code of a bug."""


@contextmanager
def _reader_noticed() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


class Commands(click.Group):
    """A group that lists its commands by what they are for, and suggests what was meant."""

    def make_context(self, *words: Any, **named: Any) -> click.Context:
        """Parse the arguments, and print a help. Raises ReaderGoneError."""
        with _reader_noticed():
            return super().make_context(*words, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises ReaderGoneError."""
        with _reader_noticed():
            return super().invoke(ctx)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help."""
        named = {name for commands in GROUPS.values() for name in commands}
        others = {
            name: below.get_short_help_str(LONGEST)
            for name, below in self.commands.items()
            if name not in named and not below.hidden
        }
        for title, commands in {**GROUPS, **({"Others": others} if others else {})}.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=12)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. Raises UsageError, with the commands that were meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.list_commands(ctx)
            begin = [each for each in known if each.startswith(name)]
            meant = begin or difflib.get_close_matches(name, known)
            hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)
