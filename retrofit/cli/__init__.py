"""The command line: arguments in, the answer on stdout, the story on stderr, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from retrofit.cli import (  # noqa: F401  (they register)
    audit,
    completion,
    configuration,
    files,
    images,
    notify,
    run,
    runs,
)
from retrofit.cli.root import retrofit
from retrofit.errors import BuildError, ConfigError, InterruptedRunError, RetrofitError
from retrofit.interrupts import interruptible
from retrofit.shortage import told_as
from retrofit.visible import visible


@contextmanager
def _errors_told() -> Iterator[None]:
    """Turn what operators can mend into a message and an exit code."""
    try:
        with interruptible(), told_as(BuildError, "go on"):
            yield
    except RetrofitError as error:
        click.echo(f"error: {visible(error.message)}", err=True)
        if error.hint:
            click.echo(f"hint: {visible(error.hint)}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("error: interrupted", err=True)
        sys.exit(InterruptedRunError.exit_code)


def main() -> None:
    """Run the command line."""
    with _errors_told():
        try:
            sys.exit(retrofit.main(standalone_mode=False))
        except click.ClickException as error:
            error.show()
            sys.exit(ConfigError.exit_code)
        except click.Abort:
            raise KeyboardInterrupt from None
