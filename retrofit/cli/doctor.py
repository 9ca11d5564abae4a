"""`doctor`: whether a run would find all that it needs."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@output_here
def doctor(context: click.Context) -> None:
    """Try all that a build needs of the cloud, of others and of this machine.

    A record with all properties, tags and visibility of an image is created in Glance and deleted;
    apt, uv, QEMU, mounts, loop devices, lock server and Octavia are tried as a run uses them.
    `run-once` makes the same tries before it fetches anything, where it has to build.

    Each line has what was tried, what came of it, the seconds, and the way out. The exit code is
    that of the first failure, as run-once would end; warnings alone give 0.
    """
    from retrofit.cli.render.doctor import show_tries  # noqa: PLC0415
    from retrofit.operations.doctor import examine  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    documents = examine(invocation.targets(settings), settings)
    show_tries(documents, invocation.output)
    context.exit(next((each.exit_code for each in documents if each.exit_code), 0))
