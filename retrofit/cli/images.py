"""Commands about amphora images in Glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from retrofit.cli.confirm import confirm, yes_option
from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import ConfigError, PublishError

if TYPE_CHECKING:
    from retrofit.config import Settings, Target
    from retrofit.plan import Promotion


@retrofit.command("list")
@output_here
def list_images(context: click.Context) -> None:
    """List the amphora images of every target, newest first, and which is promoted.

    Images of the octavia-diskimage-retrofit charm are listed after ours. "Set aside" are images
    that somebody decided against by `rollback`, `promote` or with other tools: no run promotes
    them again by itself.
    """
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


@retrofit.command()
@click.argument("image_id", metavar="IMAGE-ID")
@output_here
def show(context: click.Context, image_id: str) -> None:
    """Show everything that is known of one amphora image.

    What it was made from, by which run, what was seen in it when it was verified, and where it
    stands now.
    """
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    for target in invocation.targets(settings):
        inventory = take_inventory(target, Glance.connect(target.cloud))
        for image in (*inventory.ours(target.name), *inventory.of_the_charm(target)):
            if image.id == image_id:
                render.show_image(image, inventory, target, invocation.output)
                return
    raise ConfigError(
        f"image {image_id} is not an amphora image of these targets",
        hint="`retrofit list` shows those that are",
    )


@retrofit.command()
@click.argument("image_id", metavar="IMAGE-ID")
@yes_option
@output_here
def promote(context: click.Context, image_id: str, yes: bool) -> None:
    """Make one amphora image the one that Octavia starts load balancers from.

    The image is tagged and shown before any other loses the tag. Octavia takes the newest of
    several, so images that are newer than this one are demoted and set aside: no run promotes
    them again. At the end Octavia's own question is put to Glance, to see that it works.

    Running load balancers keep their image until they fail over: see `retrofit audit`.
    """
    from retrofit import by_hand, render  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    target = _target_of(image_id, invocation, settings)
    _agree(target, by_hand.preview_promotion(target, image_id), yes=yes)
    report = by_hand.promote_by_hand(target, settings, image_id)
    render.show_reports([report], invocation.output)
    context.exit(report.exit_code)


@retrofit.command()
@click.argument("image_id", metavar="[IMAGE-ID]", required=False)
@yes_option
@output_here
def rollback(context: click.Context, image_id: str | None, yes: bool) -> None:
    """Go back to the image before the promoted one, or to an older one by its id.

    The older image is tagged and shown first, then the newer ones are demoted and set aside: the
    next run leaves them so, until there is a new source version or another recipe. To stop those
    too, `retrofit pause`.

    Running load balancers keep their image until they fail over: `retrofit audit` lists them.
    """
    from retrofit import by_hand, render  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    if image_id is not None:
        target = _target_of(image_id, invocation, settings)
    elif len(targets) == 1:
        target = targets[0]
    else:
        names = ", ".join(target.name for target in targets)
        raise ConfigError(f"several targets could go back: {names}", hint="name one by --target")
    wanted = by_hand.preview_rollback(target, image_id)
    _agree(target, wanted, yes=yes)
    report = by_hand.promote_by_hand(target, settings, wanted.image.id, action="rollback")
    render.show_reports([report], invocation.output)
    context.exit(report.exit_code)


@retrofit.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted, and what stays.")
@yes_option
@output_here
def retire(context: click.Context, dry_run: bool, yes: bool) -> None:
    """Delete the amphora images that retention no longer wants.

    The same rules as at the end of every run: `publish.keep` newest stay, so does what is
    promoted, newer than the promoted one, protected, in use by an amphora, or not demoted for
    long enough. What another tool made is never touched.
    """
    from retrofit import by_hand, render  # noqa: PLC0415
    from retrofit.report import worst_exit_code  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    previews = [(target, by_hand.preview_retirement(target)) for target in targets]
    doomed = [image.id for _, rotation in previews for image in rotation.retire]
    if dry_run or not doomed:
        render.show_retirement(previews, invocation.output)
        return
    confirm(f"Delete {len(doomed)} images: {', '.join(doomed)}?", yes=yes)
    reports = [by_hand.retire_by_hand(target, settings) for target in targets]
    render.show_reports(reports, invocation.output)
    context.exit(worst_exit_code(reports))


def _target_of(image_id: str, invocation: Invocation, settings: Settings) -> Target:
    from retrofit.cloud import Glance  # noqa: PLC0415

    for target in invocation.targets(settings):
        glance = Glance.connect(target.cloud)
        image = glance.get(image_id)
        if image is None or image.owner != glance.project_id:
            continue
        if image.property("retrofit_target") == target.name:
            return target
    raise PublishError(
        f"image {image_id} is not an amphora image of these targets",
        hint="`retrofit list` shows those that are; images of others are never touched",
    )


def _agree(target: Target, wanted: Promotion, *, yes: bool) -> None:
    was = f"{wanted.previous.id}" if wanted.previous else "nothing"
    confirm(
        f"Promote {wanted.image.id} ({wanted.image.name}) for target {target.name}"
        f" in place of {was}?",
        yes=yes or wanted.changes_nothing,
    )
