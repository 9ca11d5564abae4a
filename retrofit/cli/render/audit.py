"""What runs on what, as tables and as lines for a shell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from retrofit.cli.form import Form
from retrofit.cli.render.form import enveloped, fields, listed, structured, table
from retrofit.fleet.document import AuditDocument, AuditedImageDocument, UnattachedDocument
from retrofit.model import STARTING
from retrofit.status.sentences import age as age_in_words
from retrofit.system.escape import escaped


def show_audits(audits: Sequence[AuditDocument], output: Form | str) -> None:
    """Print the audits of targets; with columns or as values, the load balancers to fail over."""
    form = Form.of(output)
    if form.is_document:
        structured(enveloped([audit.as_dict() for audit in audits]), form)
        return
    if form.is_listed:
        listed(
            [
                {
                    "Load balancer": each.id,
                    "Name": _one_line(each.name),
                    "Project": each.project_id,
                    "VIP": each.vip_address,
                    "Failover": each.failover,
                    "Command": each.command,
                }
                for document in audits
                for each in document.failover or ()
            ],
            form,
        )
        return
    for document in audits:
        _show(document)


def _show(document: AuditDocument) -> None:
    octavia, taken = document.octavia, document.octavia_image
    passed_over = [f"{no.image_id}: {no.reason}" for no in taken.passed_over]
    fields(
        {
            "target": document.target,
            "cloud": document.cloud,
            "promoted image": document.promoted or "none",
            "Octavia selects": f"{taken.image_id or 'nothing'}: {taken.why}",
            "and not": passed_over,
            "amphorae": octavia.amphorae,
            "booting, image unknown": octavia.booting or None,
            "load balancers": octavia.load_balancers,
            "Octavia's release": octavia.release,
            "of other targets": [
                f"{other.target}: {other.amphorae} amphorae, {other.load_balancers} load balancers"
                for other in document.other_targets or ()
            ],
            "Octavia does not answer": octavia.reason,
            "warnings": document.warnings,
        }
    )
    if document.images:
        _show_images(document.images)
    if octavia.answers:
        _show_failovers(document)
        _show_breaks(document)
        _show_unattached(document.without_load_balancer)


def _show_images(images: Sequence[AuditedImageDocument]) -> None:
    _table(
        (
            "Image",
            "Name",
            "Target",
            "State",
            "Age (days)",
            "Amphorae",
            "Load balancers",
            "Security fixes that it lacks",
        ),
        (
            (
                image.id,
                image.name,
                image.target or "(foreign)",
                _state(image),
                None if image.age_days is None else round(image.age_days, 1),
                image.amphorae,
                image.load_balancers,
                image.security_fixes,
            )
            for image in images
        ),
    )
    for image in images:
        if image.remark is not None:
            click.echo(escaped(f"{image.id}: {image.remark}: it is left alone"))


def _state(image: AuditedImageDocument) -> str:
    words = [image.status]
    words += ["hidden"] if image.hidden else []
    words += ["promoted"] if image.promoted else []
    return ", ".join(words)


def _show_failovers(document: AuditDocument) -> None:
    """Print the commands in their order, each under a comment: the lines are fit for a shell.

    What Octavia would refuse is commented out.
    """
    failovers = document.failover
    if not failovers:
        if document.promoted:
            click.echo("# every load balancer of this target runs on the promoted image")
        return
    click.echo(f"# load balancers to fail over to {document.promoted}, in this order")
    for number, each in enumerate(failovers, start=1):
        age = each.oldest_image_age_days
        image = "image unknown to Glance" if age is None else f"image {age_in_words(age)}"
        click.echo(
            f"# {number}. {_one_line(each.name)} (project {_one_line(each.project_id)},"
            f" {each.vip_address}), {image}: {each.remark}"
        )
        held = each.failover == "refused" or each.breaks
        click.echo(f"{'# ' if held else ''}{each.command}")


def _show_breaks(document: AuditDocument) -> None:
    """Print the load balancers that the promoted image breaks, as comments."""
    if not document.breaks:
        return
    click.echo(f"# load balancers that would break on {document.promoted}, at a change or failover")
    for each in document.breaks:
        sure = "" if each.certain else " (if Octavia is of such a release)"
        click.echo(
            f"# {_one_line(each.name)} ({each.id}, project {_one_line(each.project_id)}):"
            f" {', '.join(each.kinds)}{sure}: {each.why}"
        )


def _one_line(text: str) -> str:
    """Replace everything in a tenant's text that a terminal or a shell could act upon."""
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "-"


def _show_unattached(amphorae: Sequence[UnattachedDocument] | None) -> None:
    if not amphorae:
        return
    click.echo("# amphorae without a load balancer: nothing fails over, Octavia answers 500")
    _table(
        ("Amphora", "Status", "Image", "Created", "Way out"),
        (
            (
                each.id,
                each.status,
                each.image_id,
                each.created_at,
                each.command
                or ("being started" if each.status in STARTING else "Octavia's housekeeping"),
            )
            for each in amphorae
        ),
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table(
        columns, [["?" if cell is None else _one_line(str(cell)) for cell in row] for row in rows]
    )
