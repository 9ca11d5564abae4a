"""Ask for confirmation before images are changed or deleted."""

from __future__ import annotations

import sys

import click

from retrofit.errors import ConfigError, InterruptedRunError
from retrofit.system.escape import escaped

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, *, yes: bool) -> None:
    """Return once the operator agrees: by `--yes`, or by answering on a terminal.

    Raises InterruptedRunError when the answer is no, ConfigError without a terminal.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"there is no terminal to confirm on: {question}", hint="confirm by --yes"
        )
    if not click.confirm(escaped(question), err=True):
        raise InterruptedRunError("not confirmed: nothing was changed")
