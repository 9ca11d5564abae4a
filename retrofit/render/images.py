"""Amphora images in Glance and in files, and what verification says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from retrofit.config import Target
from retrofit.model import BuiltImage, Verdict
from retrofit.plan import Inventory
from retrofit.render.form import console, fields, structured
from retrofit.report import verdict_as_dict
from retrofit.status import image_as_dict


def show_images(inventories: Sequence[tuple[Target, Inventory]], output: str) -> None:
    """Print the amphora images of targets."""
    rows = [
        image_as_dict(image, inventory, target)
        for target, inventory in inventories
        for image in inventory.ours(target.name)
    ]
    if output != "table":
        structured(rows, output)
        return
    table = Table("ID", "Name", "Status", "Promoted", "Source version", "Age (days)", "Verified")
    for row in rows:
        table.add_row(
            *(
                escape(str(cell))
                for cell in (
                    row["id"],
                    row["name"],
                    row["status"] + (", hidden" if row["hidden"] else ""),
                    "yes" if row["promoted"] else "",
                    row["source_version_name"],
                    row["age_days"],
                    row["retrofit_verification"] or "no",
                )
            )
        )
    console().print(table)


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
        table.add_row(*(escape(str(cell)) for cell in (check.name, check.outcome, check.detail)))
    console().print(table)
    result = "passed" if verdict.passed else f"failed ({len(verdict.failures)} checks)"
    fields({"result": result, "how": verdict.how, **verdict.facts, "evidence": log_dir})
