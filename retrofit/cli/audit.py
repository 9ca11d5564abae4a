"""`audit`: what runs on what."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@output_here
def audit(context: click.Context) -> None:
    """Show which images amphorae run on, and what to fail over to the promoted one.

    For each image: amphorae, load balancers, age. For each load balancer that still runs on another
    image than the promoted one, the command that moves it: first those that lose nothing by it,
    then those with an outage, last those that Octavia would refuse now; the oldest image first.
    And which image Octavia takes now, why, and what speaks against it.

    Asks Octavia as [octavia] of the configuration says. Where it does not answer, the part that
    Glance knows is shown, with the reason; with octavia.ask = "require" the exit code is 3.
    """
    from retrofit import audit as documents  # noqa: PLC0415
    from retrofit.census import take_census  # noqa: PLC0415
    from retrofit.render.audit import show_audits  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    audits, failures = [], []
    for target in invocation.targets(settings):
        census, failed = take_census(target)
        audits.append(documents.audit(target, census, configured=settings.targets))
        failures += [] if failed is None else [failed]
    show_audits(audits, invocation.output)
    if failures:
        raise failures[0]
