"""`notify`: try out the receivers of notifications, and see what is queued."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import ConfigError


@retrofit.command()
@click.option("--test", is_flag=True, help="First send a test to the webhook and the command.")
@output_here
def notify(context: click.Context, test: bool) -> None:
    """Deliver the queued notifications, and show those that are still queued.

    Runs and the worker do so by themselves; use this to try section [notify] of the configuration.
    """
    from retrofit.cli.render.notifications import show_notifications  # noqa: PLC0415
    from retrofit.operations.notifications import deliver_notifications  # noqa: PLC0415

    invocation: Invocation = context.obj
    deliveries = deliver_notifications(invocation.settings(), test=test)
    show_notifications(deliveries.tested, deliveries.queued, invocation.output)
    for error in deliveries.failed_tests:
        raise ConfigError(
            f"the test was not delivered: {error}", hint="check [notify] of the configuration"
        )
