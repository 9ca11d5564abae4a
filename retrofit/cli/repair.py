"""`repair`: an image that works comes back where Octavia finds none."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@output_here
def repair(context: click.Context) -> None:
    """Promote the newest image that works, where Octavia finds none.

    Without an image no load balancer starts or fails over. So age does not count, nor who hid an
    image or took its tag. What a person rejected stays rejected, a pause is honoured, nothing is
    built, and no build is waited for. Where Octavia finds an image, nothing is changed.

    The worker does this by itself within a minute, every run does it first.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.repair import repair as operation  # noqa: PLC0415
    from retrofit.runs.report import worst_exit_code  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    reports = [operation(target, settings) for target in invocation.targets(settings)]
    render.show_reports(reports, invocation.output)
    context.exit(worst_exit_code(reports))
