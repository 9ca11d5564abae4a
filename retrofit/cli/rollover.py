"""`rollover`: what runs becomes current."""

from __future__ import annotations

import click

from retrofit.cli.confirm import confirm, yes_option
from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@click.option(
    "--dry-run", is_flag=True, help="Only show the schedule: what is moved when, and what stays."
)
@click.option(
    "--resume",
    is_flag=True,
    help="End the halt of a rollover, then go on: what failed is tried once more.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait for windows, soaks and the guard, instead of ending there.",
)
@click.option(
    "--if-enabled", is_flag=True, help="Do nothing unless rollover.enabled is set: for timers."
)
@click.option("--reason", metavar="TEXT", help="Why: written into the history.")
@yes_option
@output_here
def rollover(
    context: click.Context,
    dry_run: bool,
    resume: bool,
    wait: bool,
    if_enabled: bool,
    reason: str | None,
    yes: bool,
) -> None:
    """Move running load balancers to the promoted image, one failover after the other.

    Due is a load balancer whose image lacks a security fix that the promoted one has, is older
    than rollover.older_than, or was rejected. Canaries come first, then what has no outage.
    Before each failover everything is asked anew: window, lock, guard, the image, Octavia. Octavia
    then builds new amphorae; the load balancer has to be ACTIVE, on the promoted image, no worse
    than before, and its amphorae have to send statistics, before the next one follows.

    The first doubt halts the rollover, on all machines, until --resume or a newer image. A rollover
    that was killed goes on where it was: which image an amphora runs on is all that counts.
    """
    from retrofit.cli.render import rollover as render  # noqa: PLC0415
    from retrofit.cli.render import show_reports  # noqa: PLC0415
    from retrofit.console import progress_shown  # noqa: PLC0415
    from retrofit.operations import rollover as operation  # noqa: PLC0415
    from retrofit.runs.report import worst_exit_code  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    if if_enabled:
        targets = [each for each in targets if each.rollover.enabled]
    if dry_run:
        previews = [operation.preview_rollover(each, settings) for each in targets]
        render.show_schedules(previews, invocation.output)
        return
    if not yes:
        previews = [operation.preview_rollover(each, settings) for each in targets]
        render.show_due(previews)
        due = sum(each.due for each in previews)
        confirm(f"Fail over {due} load balancers?", yes=not due and not resume)
    if resume:
        for each in targets:
            operation.resume_rollover(each, settings)
    with progress_shown() as progress:
        reports = [
            operation.roll_over(each, settings, wait=wait, reason=reason, progress=progress)
            for each in targets
        ]
    show_reports(reports, invocation.output)
    context.exit(worst_exit_code(reports))
