"""`cancel`: end a run that goes on."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@click.option(
    "--wait",
    type=click.IntRange(min=0),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for its clean-up.",
)
@output_here
def cancel(context: click.Context, wait: int) -> None:
    """End the run of a target on this machine, and wait until it has cleaned up.

    The same as Ctrl-C at its terminal: it unmounts, deletes its unfinished record, and leaves the
    promoted image as it is. The next run begins anew. `promote` and `rollback` need no cancel.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.cancel import cancel as operation  # noqa: PLC0415
    from retrofit.operations.targets import the_one_target  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    target = the_one_target(invocation.targets(settings), "cancelled")
    render.show_cancelled(operation(target, settings, wait=wait), invocation.output)
