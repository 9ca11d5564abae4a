"""How targets stand, what past runs did, and how to stop the next ones for a while."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.cli.until import until as time_to_come
from retrofit.errors import ConfigError, RetrofitError, error_of
from retrofit.visible import visible


@retrofit.command()
@output_here
def status(context: click.Context) -> None:
    """Show which image Octavia takes now, how old it is, how the last run ended, and what is next.

    Where the cloud does not answer, what this machine knows is shown, and the exit code is 3.
    """
    from retrofit import overview, render  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    documents = overview.standings(invocation.targets(settings), settings)
    render.show_status(documents, invocation.output)
    for document in documents:
        if document["cloud_error"]:
            raise error_of(**document["cloud_error"])


@retrofit.command()
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True)
@output_here
def history(context: click.Context, number: int) -> None:
    """List past runs, and what was done by hand, newest first.

    Runs of this machine, as far as their logs are kept (`paths.keep_logs`); of those that found
    nothing to do only the last one of each target is.
    """
    from retrofit import render  # noqa: PLC0415
    from retrofit.run_logs import reports  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    names = {target.name for target in invocation.targets(settings)}
    kept = [report for report in reports(settings.paths.logs) if report.get("target") in names]
    render.show_history(kept[:number], invocation.output)


def _runs_to_complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from retrofit.run_logs import run_directories  # noqa: PLC0415
    from retrofit.settings_file import load  # noqa: PLC0415

    try:
        config = context.find_root().params.get("config")
        logs = load(config).paths.logs
    except RetrofitError:
        return []
    names = ["last", *(directory.name for directory in run_directories(logs))]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@retrofit.command()
@click.argument("run", shell_complete=_runs_to_complete)
@click.option("--file", "file_name", help="Print this file of the run's logs, such as build.log.")
@output_here
def logs(context: click.Context, run: str, file_name: str | None) -> None:
    """Tell the story of one run: its report, its events, and which log files it left.

    RUN is an id as `retrofit history` shows it, the beginning of one, or `last`.
    """
    from retrofit import render  # noqa: PLC0415
    from retrofit.run_logs import find_run  # noqa: PLC0415

    invocation: Invocation = context.obj
    directory = find_run(invocation.settings().paths.logs, run)
    if file_name is None:
        render.show_run(directory, invocation.output)
        return
    path = directory / Path(file_name).name
    told = visible if sys.stdout.isatty() else str
    try:
        with path.open(errors="replace") as file:
            for line in file:
                click.echo(told(line), nl=False)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint=f"`retrofit logs {run}` lists the files"
        ) from error


@retrofit.command()
@click.option("--reason", required=True, help="Why, for whoever finds it paused.")
@click.option(
    "--until",
    callback=time_to_come,
    metavar="TIME",
    help="When the pause ends by itself: a time (2026-12-24T18:00, UTC unless it says otherwise)"
    " or a duration (90m, 12h, 3d).  [default: at `retrofit resume`]",
)
@output_here
def pause(context: click.Context, reason: str, until: datetime | None) -> None:
    """Stop all runs until a time, or until `retrofit resume`.

    Whoever asks for a run (a timer, the worker, a charm action, `retrofit run-once`, with or
    without --force) is told that it is paused, and why. A run that is going on is not stopped.
    What an operator does by hand (promote, rollback, retire) still works.

    The pause is written on the promoted image, so that all machines which serve it see it.
    """
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.pausing import order_by_me, write_pause  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    ordered = order_by_me(reason, until)
    documents = []
    for target in invocation.targets(settings):
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        shared = write_pause(glance, inventory, target, settings.paths.state, ordered)
        where = "all machines" if shared else "this machine (no image carries it yet)"
        documents.append({"target": target.name, "paused": ordered.as_dict(), "seen_by": where})
    render.show_pauses(documents, invocation.output)


@retrofit.command()
@output_here
def resume(context: click.Context) -> None:
    """End a pause: the next run does what there is to do."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.pausing import pause_of, remove_pause  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    documents = []
    for target in invocation.targets(settings):
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        before = pause_of(inventory, target, settings.paths.state)
        remove_pause(glance, inventory, target, settings.paths.state)
        ended = before.as_dict() if before is not None else None
        documents.append({"target": target.name, "paused": None, "was": ended})
    render.show_pauses(documents, invocation.output)
