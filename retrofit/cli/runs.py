"""How targets stand and what past runs did."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command()
@output_here
def status(context: click.Context) -> None:
    """Show which image Octavia takes now, how old it is, and how the last run ended."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.status import target_status  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    render.show_status(
        [target_status(target, settings) for target in invocation.targets(settings)],
        invocation.output,
    )
