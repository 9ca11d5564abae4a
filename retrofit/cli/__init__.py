"""The command line: results go to stdout, logs and progress to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from retrofit.cli import (  # noqa: F401  (they register)
    adopt,
    audit,
    cancel,
    completion,
    configuration,
    doctor,
    files,
    images,
    init,
    notify,
    repair,
    rollover,
    run,
    runs,
)
from retrofit.cli.groups import ReaderGoneError
from retrofit.cli.root import retrofit
from retrofit.errors import BuildError, ConfigError, InterruptedRunError, RetrofitError
from retrofit.system.escape import escaped
from retrofit.system.resource_errors import resource_errors_as
from retrofit.system.signals import interruptible

BROKEN_PIPE = 141
"""Exit code of a program whose reader went away, as shells report it: 128 + SIGPIPE."""


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Turn the errors that an operator can mend into a message and an exit code."""
    try:
        with interruptible(), resource_errors_as(BuildError, "go on"):
            yield
    except RetrofitError as error:
        click.echo(f"error: {escaped(error.message)}", err=True)
        if error.hint:
            click.echo(f"hint: {escaped(error.hint)}", err=True)
        sys.exit(error.exit_code)
    except (BrokenPipeError, ReaderGoneError):
        # Whoever read has seen enough. What is buffered goes nowhere, and no error is printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        click.echo("error: interrupted", err=True)
        sys.exit(InterruptedRunError.exit_code)


def _show(error: click.ClickException) -> None:
    """Print what click refuses as our own errors are printed."""
    click.echo(f"error: {escaped(error.format_message())}", err=True)
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"hint: `{context.command_path} --help` shows what it takes", err=True)


def main() -> None:
    """Run the command line."""
    with _errors_reported():
        try:
            code = retrofit.main(standalone_mode=False)
            sys.stdout.flush()
            sys.exit(code)
        except click.ClickException as error:
            _show(error)
            sys.exit(ConfigError.exit_code)
        except click.Abort:
            raise KeyboardInterrupt from None
