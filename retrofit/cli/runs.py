"""`status`, `history` and `logs`; `pause` and `resume`."""

from __future__ import annotations

import sys
from datetime import datetime

import click
from click.shell_completion import CompletionItem

from retrofit.cli.root import Invocation, config_of, output_here, retrofit
from retrofit.cli.until import time_to_come
from retrofit.errors import RetrofitError
from retrofit.system.escape import escaped


@retrofit.command()
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit with 8 where a target is degraded, with 9 where Octavia finds no image.",
)
@output_here
def status(context: click.Context, exit_code: bool) -> None:
    """Show the state of every target: the image that Octavia selects, last run, next run.

    Where the cloud does not answer, status shows what this machine knows, with exit code 3.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.status import exit_code_of, target_statuses  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    statuses = target_statuses(invocation.targets(settings), settings)
    render.show_status(statuses, invocation.output)
    for each in statuses:
        if each.cloud_error:
            raise each.cloud_error.as_error()
    if exit_code:
        context.exit(exit_code_of(statuses))


@retrofit.command()
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True)
@output_here
def history(context: click.Context, number: int) -> None:
    """List past runs and commands of operators, newest first.

    Runs of this machine whose logs are kept (`paths.keep_logs`); of runs without anything to do,
    and of repairs and rollovers that failed without any change, the last one of each target.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.history import past_reports  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    reports = past_reports(invocation.targets(settings), settings, number=number)
    render.show_history(reports, invocation.output)


def _runs_to_complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from retrofit.config.file import load  # noqa: PLC0415
    from retrofit.operations.history import run_ids  # noqa: PLC0415

    try:
        names = ["last", *run_ids(load(config_of(context)))]
    except RetrofitError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _files_to_complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from retrofit.config.file import load  # noqa: PLC0415
    from retrofit.operations.history import run_logs  # noqa: PLC0415

    try:
        files = run_logs(load(config_of(context)), context.params.get("run") or "last").files
    except RetrofitError:
        return []
    return [CompletionItem(name) for name in files if name.startswith(incomplete)]


@retrofit.command()
@click.argument("run", default="last", shell_complete=_runs_to_complete)
@click.option(
    "--file",
    "file_name",
    shell_complete=_files_to_complete,
    help="Print this file of the run's logs, such as build.log.",
)
@output_here
def logs(context: click.Context, run: str, file_name: str | None) -> None:
    """Show one run: its report, its events, and its log files.

    RUN is an id as `retrofit history` shows it, the beginning of one, or `last`, the default.
    With --target, `last` is the last run of that target.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.history import log_lines, run_logs  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = None
    if invocation.target is not None:
        targets = {target.name for target in invocation.targets(settings)}
    if file_name is None:
        render.show_run(run_logs(settings, run, targets), invocation.output)
        return
    shown = escaped if sys.stdout.isatty() else str
    for line in log_lines(settings, run, file_name, targets):
        click.echo(shown(line), nl=False)


@retrofit.command()
@click.option("--reason", required=True, help="Reason, shown with the pause.")
@click.option(
    "--until",
    callback=time_to_come,
    metavar="TIME",
    help="When the pause ends by itself: a time (2026-12-24T18:00, UTC unless it names a zone)"
    " or a duration (90m, 12h, 3d).  [default: at `retrofit resume`]",
)
@output_here
def pause(context: click.Context, reason: str, until: datetime | None) -> None:
    """Stop all runs until a time, or until `retrofit resume`.

    Every run, with or without --force, ends at once with outcome `paused` and the reason: of a
    timer, the worker, a charm action or `retrofit run-once`. A running run is not stopped.
    Commands of an operator (promote, rollback, retire) still work.

    The pause is a property of the promoted image: all machines see it.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import pause as operation  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    changes = operation.pause(invocation.targets(settings), settings, reason=reason, until=until)
    render.show_pauses([change.as_dict() for change in changes], invocation.output)


@retrofit.command()
@output_here
def resume(context: click.Context) -> None:
    """End a pause: the next run builds and promotes again.

    An image that a rollback demoted stays rejected.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import pause as operation  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    changes = operation.resume(invocation.targets(settings), settings)
    render.show_pauses([change.as_dict() for change in changes], invocation.output)
