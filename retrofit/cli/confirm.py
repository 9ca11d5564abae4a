"""Ask before something is changed that somebody may miss."""

from __future__ import annotations

import sys

import click

from retrofit.errors import ConfigError, InterruptedRunError
from retrofit.visible import visible

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, *, yes: bool) -> None:
    """Return once the operator agrees: by `--yes`, or by answering on a terminal.

    Raises InterruptedRunError when the answer is no, ConfigError where nobody can answer.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"nobody is here to answer: {question}", hint="confirm it beforehand, by --yes"
        )
    if not click.confirm(visible(question), err=True):
        raise InterruptedRunError("not confirmed: nothing was changed")
