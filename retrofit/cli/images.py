"""Commands about amphora images in Glance."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit


@retrofit.command("list")
@output_here
def list_images(context: click.Context) -> None:
    """List the amphora images of every target, newest first, and which is promoted."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    inventories = [
        (target, take_inventory(target, Glance.connect(target.cloud)))
        for target in invocation.targets(settings)
    ]
    render.show_images(inventories, invocation.output)
