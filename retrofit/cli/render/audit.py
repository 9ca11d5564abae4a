"""What runs on what, as tables and as lines that a shell takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.table import Table

from retrofit.render.form import add_row, console, fields, structured

STARTING = frozenset({"BOOTING", "PENDING_CREATE"})


def show_audits(audits: Sequence[dict[str, Any]], output: str) -> None:
    """Print the audits of targets: one as itself, several as a list under `targets`."""
    if output != "table":
        structured(audits[0] if len(audits) == 1 else {"targets": list(audits)}, output)
        return
    for document in audits:
        _show(document)


def _show(document: dict[str, Any]) -> None:
    octavia, taken = document["octavia"], document["octavia_takes"]
    passed_over = [f"{no['image_id']}: {no['reason']}" for no in taken["passed_over"]]
    fields(
        {
            "target": document["target"],
            "cloud": document["cloud"],
            "promoted image": document["promoted"] or "none",
            "Octavia takes": f"{taken['image_id'] or 'nothing'}: {taken['why']}",
            "and not": passed_over,
            "amphorae": octavia["amphorae"],
            "image not yet told": octavia["booting"] or None,
            "load balancers": octavia["load_balancers"],
            "of other targets": [
                f"{other['target']}: {other['amphorae']} amphorae,"
                f" {other['load_balancers']} load balancers"
                for other in document["other_targets"] or ()
            ],
            "Octavia does not tell": octavia["reason"],
            "warnings": document["warnings"],
        }
    )
    if document["images"]:
        _show_images(document["images"])
    if octavia["answers"]:
        _show_failovers(document)
        _show_unattached(document["without_load_balancer"])


def _show_images(images: list[dict[str, Any]]) -> None:
    _table(
        ("Image", "Name", "Target", "State", "Age (days)", "Amphorae", "Load balancers"),
        (
            (
                image["id"],
                image["name"],
                image["target"] or "(foreign)",
                _state(image),
                image["age_days"],
                image["amphorae"],
                image["load_balancers"],
            )
            for image in images
        ),
    )


def _state(image: dict[str, Any]) -> str:
    said = [image["status"]]
    said += ["hidden"] if image["hidden"] else []
    said += ["promoted"] if image["promoted"] else []
    return ", ".join(said)


def _show_failovers(document: dict[str, Any]) -> None:
    """Print the commands in their order, each under a comment: a shell takes the lines as they are.

    What Octavia would refuse is commented out.
    """
    failovers = document["failover"]
    if not failovers:
        if document["promoted"]:
            click.echo("# every load balancer of this target runs on the promoted image")
        return
    click.echo(f"# load balancers to fail over to {document['promoted']}, in this order")
    for number, each in enumerate(failovers, start=1):
        age = each["oldest_image_age_days"]
        image = "image unknown to Glance" if age is None else f"image {age} days old"
        click.echo(
            f"# {number}. {_one_line(each['name'])} (project {_one_line(each['project_id'])},"
            f" {each['vip_address']}), {image}: {each['remark']}"
        )
        click.echo(f"{'# ' if each['failover'] == 'refused' else ''}{each['command']}")


def _one_line(text: str) -> str:
    """Take everything out of a tenant's words that a terminal or a shell could act upon."""
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "-"


def _show_unattached(amphorae: list[dict[str, Any]]) -> None:
    if not amphorae:
        return
    click.echo("# amphorae without a load balancer: nothing fails over, Octavia answers 500")
    _table(
        ("Amphora", "Status", "Image", "Created", "Way out"),
        (
            (
                each["id"],
                each["status"],
                each["image_id"],
                each["created_at"],
                each["command"]
                or ("being started" if each["status"] in STARTING else "Octavia's housekeeping"),
            )
            for each in amphorae
        ),
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(*columns)
    for row in rows:
        add_row(table, *("?" if cell is None else _one_line(str(cell)) for cell in row))
    console().print(table)
