"""What differs between two amphora images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from retrofit.cli.form import Form
from retrofit.cli.render.form import fields, listed, structured
from retrofit.system.escape import escaped
from retrofit.times import iso

if TYPE_CHECKING:
    from retrofit.operations.diff import DiffDocument


def show_diff(found: DiffDocument, output: Form | str) -> None:
    """Print what differs, one thing a line."""
    form = Form.of(output)
    if form.is_document:
        structured(found.as_dict(), form)
        return
    rows = [
        {"Kind": kind, "Name": name, "Before": before, "After": after}
        for kind, changes in (
            ("package", [(each.package, each.before, each.after) for each in found.packages or ()]),
            ("check", [(each.name, each.before, each.after) for each in found.checks or ()]),
            ("property", [(each.name, each.before, each.after) for each in found.properties]),
        )
        for name, before, after in changes
    ]
    if not form.is_listed:
        fields(
            {
                name: f"{image.id} ({image.name}, {iso(image.created_at)})"
                for name, image in (("before", found.before), ("after", found.after))
            }
        )
    listed(rows, form, usual=("Kind", "Name", "Before", "After"))
    if found.unknown is not None:
        click.echo(escaped(f"packages and checks are not compared: {found.unknown}"), err=True)
