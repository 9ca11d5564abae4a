"""`audit`: what runs on what."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@output_here
def audit(context: click.Context) -> None:
    """Show which images amphorae run on, and the load balancers to fail over.

    For each image: amphorae, load balancers, age. For each load balancer on another image than the
    promoted one: the command that moves it. The order: no outage, then an outage, last those that
    Octavia would refuse now; among equals the oldest image first. Then the image that Octavia
    selects now, with the reason and with warnings.

    Section [octavia] of the configuration sets the credentials. Where Octavia does not answer,
    the audit shows the part that Glance knows, with the reason; with octavia.query = "require"
    the exit code is 3.
    """
    from retrofit.cli.render.audit import show_audits  # noqa: PLC0415
    from retrofit.operations.audit import audit_targets  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    audits = audit_targets(invocation.targets(settings), settings)
    show_audits([audit.document for audit in audits], invocation.output)
    for audit in audits:
        if audit.error is not None:
            raise audit.error
