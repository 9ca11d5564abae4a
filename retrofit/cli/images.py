"""Commands about amphora images in Glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from retrofit.cli.confirm import confirm, yes_option
from retrofit.cli.root import Invocation, config_of, output_here, retrofit
from retrofit.errors import ConfigError, RetrofitError

if TYPE_CHECKING:
    from retrofit.config import Target
    from retrofit.plan import Promotion


reason_option = click.option(
    "--reason", metavar="TEXT", help="Why: written into the history and onto the images."
)


wait_option = click.option(
    "--wait",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another change of the target: a run's last steps. No build is"
    " waited for.",
)


def _ids_to_complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the id of an image: Glance is asked, for some seconds at most."""
    from retrofit.config.file import load  # noqa: PLC0415
    from retrofit.operations.images import image_ids  # noqa: PLC0415

    try:
        ids = image_ids(load(config_of(context)).targets)
    except RetrofitError:
        return []
    return [CompletionItem(each) for each in ids if each.startswith(incomplete)]


@retrofit.command("list")
@output_here
def list_images(context: click.Context) -> None:
    """List the amphora images of every target, newest first, and which is promoted.

    Images of the octavia-diskimage-retrofit charm follow, and source images that retrofit 0.1.0
    published. Which security fixes the promoted image lacks is what the last run here saw. Rejected
    images are those that an operator left behind by `rollback` or `promote`, or untagged with other
    tools: no run promotes them again.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import images  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    found = images.list_images(invocation.targets(settings), settings)
    render.show_images(found, invocation.output)


@retrofit.command()
@click.argument("image_id", metavar="IMAGE-ID", shell_complete=_ids_to_complete)
@output_here
def show(context: click.Context, image_id: str) -> None:
    """Show everything about one amphora image.

    Its source, its run, the versions in it, its verification and its state.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import images  # noqa: PLC0415

    invocation: Invocation = context.obj
    shown = images.show_image(image_id, invocation.targets(invocation.settings()))
    render.show_image(shown.document, shown.properties, invocation.output)


@retrofit.command()
@click.argument("before", metavar="[BEFORE]", required=False, shell_complete=_ids_to_complete)
@click.argument("after", metavar="[AFTER]", required=False, shell_complete=_ids_to_complete)
@output_here
def diff(context: click.Context, before: str | None, after: str | None) -> None:
    """Show what differs between two amphora images: packages, checks, properties.

    Without AFTER the promoted image is the second one. Without both, the first is the image that
    was promoted before it: what changed for load balancers that fail over now.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations.diff import diff_images  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    found = diff_images(before, after, invocation.targets(settings), settings)
    render.show_diff(found, invocation.output)


@retrofit.command()
@click.argument("image_id", metavar="IMAGE-ID", shell_complete=_ids_to_complete)
@yes_option
@reason_option
@wait_option
@output_here
def promote(
    context: click.Context, image_id: str, yes: bool, reason: str | None, wait: int
) -> None:
    """Promote one amphora image: Octavia starts load balancers from it.

    The image is tagged and shown before any other loses the tag. Octavia selects the newest of
    several, so newer images are demoted and rejected: no run promotes them again. At the end,
    Octavia's own query to Glance must return this image.

    Running load balancers keep their image until they fail over: see `retrofit audit`.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import images, manual  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    named = images.named_image(image_id, invocation.targets(settings))
    _confirm_promotion(named.target, manual.preview_promotion(named.target, named.id), yes=yes)
    report = manual.promote(named.target, settings, named.id, reason=reason, wait=wait)
    render.show_reports([report], invocation.output)
    context.exit(report.exit_code)


@retrofit.command()
@click.argument("image_id", metavar="[IMAGE-ID]", required=False, shell_complete=_ids_to_complete)
@yes_option
@reason_option
@wait_option
@output_here
def rollback(
    context: click.Context,
    image_id: str | None,
    yes: bool,
    reason: str | None,
    wait: int,
) -> None:
    """Go back to the image before the promoted one, or to an older one by its id.

    The older image is tagged and shown first, then the newer ones are demoted and rejected: no
    run promotes them again. A new source version or another recipe still leads to a build; to
    stop that too, use `retrofit pause`.

    Running load balancers keep their image until they fail over: `retrofit audit` lists them.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import images, manual  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    if image_id is not None:
        named = images.named_image(image_id, targets)
        image_id, target = named.id, named.target
    elif len(targets) == 1:
        target = targets[0]
    else:
        names = ", ".join(target.name for target in targets)
        raise ConfigError(f"several targets could go back: {names}", hint="name one by --target")
    wanted = manual.preview_rollback(target, image_id)
    _confirm_promotion(target, wanted, yes=yes)
    report = manual.rollback(target, settings, wanted.image.id, reason=reason, wait=wait)
    render.show_reports([report], invocation.output)
    context.exit(report.exit_code)


@retrofit.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted, and what stays.")
@yes_option
@reason_option
@output_here
def retire(context: click.Context, dry_run: bool, yes: bool, reason: str | None) -> None:
    """Delete the amphora images that retention no longer keeps.

    The same rules as at the end of every run. These stay: the `publish.keep` newest, the promoted
    one, newer ones, protected ones, those that an amphora runs on, and those demoted recently.
    Images of other tools are never touched.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.operations import manual  # noqa: PLC0415
    from retrofit.runs.report import worst_exit_code  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    targets = invocation.targets(settings)
    previews = [(target, manual.preview_retirement(target)) for target in targets]
    doomed = [image.id for _, rotation in previews for image in rotation.retire]
    if dry_run or not doomed:
        render.show_retirement(previews, invocation.output)
        return
    count = "1 image" if len(doomed) == 1 else f"{len(doomed)} images"
    confirm(f"Delete {count}: {', '.join(doomed)}?", yes=yes)
    reports = [manual.retire(target, settings, reason=reason) for target in targets]
    render.show_reports(reports, invocation.output)
    context.exit(worst_exit_code(reports))


def _confirm_promotion(target: Target, wanted: Promotion, *, yes: bool) -> None:
    from retrofit.cli import render  # noqa: PLC0415

    asks = not (yes or wanted.changes_nothing)
    if asks:
        render.show_choice(target, wanted)
    was = f"{wanted.previous.id}" if wanted.previous else "nothing"
    confirm(
        f"Promote {wanted.image.id} ({wanted.image.name}) for target {target.name}"
        f" in place of {was}?",
        yes=not asks,
    )
