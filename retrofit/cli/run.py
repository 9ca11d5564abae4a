"""`run-once`, and `plan` to see before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import ConfigError

if TYPE_CHECKING:
    from retrofit.config import Settings


@retrofit.command("run-once")
@click.option("--force", is_flag=True, help="Build even without a reason.")
@output_here
def run_once(context: click.Context, force: bool) -> None:
    """Bring every target up to date: plan, build, verify, publish, rotate."""
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.console import progress_shown  # noqa: PLC0415
    from retrofit.operations import run  # noqa: PLC0415
    from retrofit.runs.report import worst_exit_code  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    with progress_shown() as progress:
        reports = list(run.run_targets(targets, settings, force=force, progress=progress))
    render.show_reports(reports, invocation.output)
    if settings.metrics.textfile is not None:
        _export_metrics(settings, settings.metrics.textfile)
    context.exit(worst_exit_code(reports))


def _export_metrics(settings: Settings, textfile: Path) -> None:
    """Write metrics for node_exporter; what keeps us from it changes no outcome of a run."""
    from retrofit.operations.run import write_metrics  # noqa: PLC0415

    try:
        write_metrics(settings, textfile)
    except ConfigError as error:
        click.echo(f"warning: {error.message}\nhint: {error.hint}", err=True)


@retrofit.command()
@click.option("--force", is_flag=True, help="Plan as `run-once --force` would.")
@output_here
@click.option("-v", "--verbose", is_flag=True, help="List skipped images, with reasons.")
def plan(context: click.Context, force: bool, verbose: bool) -> None:
    """Show what run-once would do now, and why; change nothing."""
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.plan import plan_targets  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    plans = plan_targets(invocation.targets(settings), settings, force=force)
    render.show_plans(plans, invocation.output, verbose=verbose or context.meta["verbose"])
    for planned in plans:
        planned.require()
