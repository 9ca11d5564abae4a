"""`retrofit-scheduler`: the worker, and what puts it in place."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from retrofit import __version__
from retrofit.console import configure_logging
from retrofit.errors import ConfigError, InterruptedRunError, RetrofitError
from scheduler.install import install

EPILOG = """\
Signals: TERM and INT stop the worker once its runs have cleaned up, HUP reads the configuration
again, USR1 runs every target now. Exit codes: 0 stopped by TERM; 1 internal error; 2 configuration;
75 another worker uses the same state directory; 130 stopped by INT.
"""


@click.group(
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="retrofit-scheduler")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="RETROFIT_CONFIG",
    help="Configuration file.  [default: /etc/retrofit/retrofit.toml]",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.pass_context
def scheduler(context: click.Context, config: Path | None, verbose: bool) -> None:
    """Keep Octavia's amphora image up to date: run every target at its scheduled time.

    Without a command, the same as `run`.
    """
    configure_logging(verbose=verbose)
    context.obj = config
    if context.invoked_subcommand is None:
        context.invoke(run)


@scheduler.command()
@click.pass_context
def run(context: click.Context) -> None:
    """Run every target at its scheduled time, until a signal stops the worker."""
    from scheduler.sd_notify import Notifier  # noqa: PLC0415
    from scheduler.worker import Worker  # noqa: PLC0415

    context.exit(Worker(context.obj, notifier=Notifier.from_environment()).run())


scheduler.add_command(install)


def main() -> None:
    """Run the command line."""
    try:
        sys.exit(scheduler.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(ConfigError.exit_code)
    except RetrofitError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("error: interrupted", err=True)
        sys.exit(InterruptedRunError.exit_code)
