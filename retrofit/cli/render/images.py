"""Amphora images in Glance and in files, and what verification says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from retrofit.config import Target
from retrofit.model import BuiltImage, Image, Verdict
from retrofit.plan import Inventory, Rotation, ids
from retrofit.render.form import add_row, console, fields, structured
from retrofit.report import verdict_as_dict
from retrofit.status import image_as_dict


def show_images(inventories: Sequence[tuple[Target, Inventory]], output: str) -> None:
    """Print the amphora images of targets, those of the charm after ours."""
    rows = [
        image_as_dict(image, inventory, target)
        for target, inventory in inventories
        for image in (*inventory.ours(target.name), *inventory.of_the_charm(target))
    ]
    if output != "table":
        structured(rows, output)
        return
    table = Table("ID", "Name", "Status", "Promoted", "Source version", "Age (days)", "Verified")
    for row in rows:
        cells = (
            row["id"],
            row["name"],
            ", ".join([row["status"], *_states(row)]),
            "yes" if row["promoted"] else "",
            row["source_version_name"],
            row["age_days"],
            row["retrofit_verification"] or "no",
        )
        add_row(table, *cells)
    console().print(table)


def _states(row: dict[str, Any]) -> list[str]:
    """Say what is out of the ordinary with an image."""
    states = [word for word in ("hidden", "protected") if row[word]]
    if row["set_aside"]:
        states.append("set aside")
    if row["made_by"] != "retrofit":
        states.append("of the charm")
    elif not row["usable"] and row["status"] == "active":
        states.append("not what was published")
    return states


def show_image(image: Image, inventory: Inventory, target: Target, output: str) -> None:
    """Print one amphora image with all its properties."""
    row = image_as_dict(image, inventory, target)
    document = {**row, "properties": dict(sorted(image.properties.items()))}
    if output != "table":
        structured(document, output)
        return
    known = {key: value for key, value in row.items() if key not in image.properties}
    states = ", ".join([row["status"], *_states(row)])
    fields({**known, "status": states, "promoted": "yes" if row["promoted"] else "no"})
    fields(dict(sorted(image.properties.items())))


def show_retirement(previews: Sequence[tuple[Target, Rotation]], output: str) -> None:
    """Print which images would be deleted, and why others stay."""
    documents = [
        {
            "target": target.name,
            "retire": list(ids(rotation.retire)),
            "notes": list(rotation.notes),
        }
        for target, rotation in previews
    ]
    if output != "table":
        structured(documents[0] if len(documents) == 1 else {"targets": documents}, output)
        return
    for document in documents:
        fields(
            {
                "target": document["target"],
                "would retire": document["retire"] or "nothing",
                "notes": document["notes"],
            }
        )


def show_built(built: BuiltImage, output: str) -> None:
    """Print what a build made; sizes are bytes."""
    document = {
        "path": str(built.path),
        "disk_format": built.disk_format,
        "size": built.size,
        "virtual_size": built.virtual_size,
        "min_disk": built.min_disk,
        "sha512": built.sha512,
    }
    if output != "table":
        structured(document, output)
    else:
        fields(document)


def show_verdict(verdict: Verdict, log_dir: Path, output: str) -> None:
    """Print every check of a verification, and where its evidence is."""
    document = {**verdict_as_dict(verdict), "log_dir": str(log_dir)}
    if output != "table":
        structured(document, output)
        return
    table = Table("Check", "Outcome", "Detail")
    for check in verdict.checks:
        add_row(table, check.name, check.outcome, check.detail)
    console().print(table)
    result = "passed" if verdict.passed else f"failed ({len(verdict.failures)} checks)"
    fields({"result": result, "how": verdict.how, **verdict.facts, "evidence": log_dir})
