"""`adopt`: an operator attributes images where no proof does."""

from __future__ import annotations

import click

from retrofit.cli.confirm import confirm, yes_option
from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.system.escape import escaped


@retrofit.command()
@click.argument("image_ids", metavar="[IMAGE-ID]...", nargs=-1)
@click.option("--installation", metavar="ID", help="All images of this installation, by its id.")
@click.option("--from-tag", metavar="TAG", help="All images of the installation with this tag.")
@yes_option
@output_here
def adopt(
    context: click.Context,
    image_ids: tuple[str, ...],
    installation: str | None,
    from_tag: str | None,
    yes: bool,
) -> None:
    """Make images of another installation images of this target.

    Without arguments: the images that retrofit 0.1.0 left with the tag of this target, where
    another installation in the project keeps a run from taking them over.

    Adopted images count for rollback, pause and retention, and may be deleted by it. Their tags
    stay as they are. Nothing is adopted by itself: an installation that still runs loses them. An
    image has to hold the bytes that were verified; a copy of one can be adopted by its id.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import adopt as operation  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    target = operation.only_target(invocation.targets(settings))
    wanted = operation.Wanted(image_ids=image_ids, installation=installation, from_tag=from_tag)
    found = operation.preview_adoption(target, settings, wanted)
    for each in found:
        click.echo(escaped(f"image {each.image.id} ({each.image.name}) {each.was}"), err=True)
    named = ", ".join(each.image.id for each in found)
    count = "1 image" if len(found) == 1 else f"{len(found)} images"
    confirm(f"Adopt {count} for target {target.name}: {named}?", yes=yes or not found)
    report = operation.adopt(target, settings, wanted)
    render.show_reports([report], invocation.output)
    context.exit(report.exit_code)
