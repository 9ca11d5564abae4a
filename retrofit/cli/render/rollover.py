"""A rollover before it begins: what is due, and the schedule with times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from retrofit.cli.form import Form
from retrofit.cli.render.form import enveloped, fields, listed, structured
from retrofit.operations.rollover import RolloverPreview
from retrofit.system.escape import escaped


def show_schedules(previews: Sequence[RolloverPreview], output: Form | str) -> None:
    """Print what rollovers would do and when; with columns or as values, the failovers alone."""
    form = Form.of(output)
    documents = [each.as_dict() for each in previews]
    if form.is_document:
        structured(enveloped(documents), form)
        return
    rows = [row for document in documents for row in _rows(document)]
    if form.is_listed:
        listed(rows, form)
        return
    for document in documents:
        fields(
            {
                "target": document["target"],
                "promoted image": document["image_id"],
                "failovers": len(document["steps"]),
                "in the end": document["end"],
                "no room": document["no_room"],
                "capacity not known": document["capacity_unknown"],
                "left": [
                    f"{each['name'] or each['id']}: {each['reason']}" for each in document["left"]
                ],
            }
        )
    if rows:
        listed(rows, Form())


def show_due(previews: Sequence[RolloverPreview]) -> None:
    """Print to stderr what a rollover would begin with, for the question that follows."""
    for each in previews:
        document = each.as_dict()
        words = f"target {each.target}: {len(document['steps'])} failovers"
        first = document["steps"][0] if document["steps"] else None
        if first is not None:
            words += f", the first one at {first['at']}: {first['name'] or first['id']}"
        stays = len(document["left"])
        words += f"; {stays} stay" if stays else ""
        click.echo(escaped(f"{words}; {document['end']}"), err=True)


def _rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "At": each["at"],
            "Load balancer": each["id"],
            "Name": each["name"],
            "Outage": each["outage"],
            "Reason": each["reason"],
        }
        for each in document["steps"]
    ]
