"""Amphora images in Glance and in files, and their verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from retrofit.cli.form import Form
from retrofit.cli.render.form import add_row, enveloped, fields, is_narrow, listed, structured
from retrofit.config import Target
from retrofit.model import BuiltImage, Image, Verdict
from retrofit.plan import Promotion, Rotation, ids
from retrofit.plan.authorship import DEMOTED_BY, REJECTED_BY, authorship
from retrofit.plan.image_state import (
    DEMOTED_AT,
    SERVING_STATES,
    image_state,
    rejected_at,
)
from retrofit.plan.proof import shortfalls
from retrofit.runs.report_document import VerificationDocument
from retrofit.status.models import ImageDocument
from retrofit.system.escape import escaped
from retrofit.times import age_of, iso

USUAL = ("ID", "State", "Source version", "Age", "HAProxy", "Verified")
WIDE = ("ID", "Name", "Target", "State", "Glance", "Source version", "Age", "HAProxy", "Verified")


def show_images(rows: Sequence[ImageDocument], output: Form | str) -> None:
    """Print images, one a line."""
    form = Form.of(output)
    if form.is_document:
        structured([row.as_dict() for row in rows], form)
        return
    listed([_row(row) for row in rows], form, usual=USUAL if is_narrow() else WIDE)
    if form.is_listed:
        return
    for row in rows:
        if row.remark is not None:
            click.echo(escaped(f"{row.id}: {row.remark}"))
        if row.missing_fixes:
            fixes = f"{row.missing_fixes} security fix{'es' if row.missing_fixes > 1 else ''}"
            click.echo(escaped(f"{row.id}: lacks {fixes}: `retrofit status` names them"))
        if row.kept_by_tags:
            kept = ", ".join(row.kept_by_tags)
            click.echo(
                escaped(
                    f"{row.id}: carries the tag {kept} besides ours: it keeps its tags, and stays"
                )
            )


def _row(row: ImageDocument) -> dict[str, Any]:
    """Return everything of an image that a column may show."""
    return {
        "ID": row.id,
        "Name": row.name,
        "Target": row.target,
        "State": _state(row),
        "Promoted": row.promoted,
        "Glance": _in_glance(row),
        "Source version": row.source_version_name,
        "Age": age_of(row.created_at, datetime.now(UTC)),
        "Created": iso(row.created_at),
        "Promoted at": row.retrofit_promoted_at,
        "Promoted by": None if row.promoted_by is None else row.promoted_by.phrase,
        "HAProxy": row.haproxy_version,
        "Kernel": row.kernel_version,
        "Agent": row.amphora_agent_version,
        "Missing fixes": row.missing_fixes,
        "Verified": row.retrofit_verification or "no",
        "Size": row.size,
        "Run": row.retrofit_run_id,
    }


def _state(row: ImageDocument) -> str:
    if row.remark is not None:
        return "not managed"
    if row.state is None:
        return "of the charm"
    word = row.state.replace("_", " ")
    return word if row.promoted or row.state not in SERVING_STATES else f"{word}, not selected"


def _in_glance(row: ImageDocument) -> str:
    flags = (("hidden", row.hidden), ("protected", row.protected))
    return ", ".join([row.status, *(word for word, applies in flags if applies)])


def show_image(row: ImageDocument, properties: Mapping[str, str], output: Form | str) -> None:
    """Print one image with all its properties."""
    form = Form.of(output)
    document = {**row.as_dict(), "properties": dict(sorted(properties.items()))}
    if form.is_document:
        structured(document, form)
        return
    authors = {
        name: None if author is None else author.phrase
        for name, author in (
            ("promoted_by", row.promoted_by),
            ("demoted_by", row.demoted_by),
            ("rejected_by", row.rejected_by),
        )
    }
    known = {
        key: ("yes" if value else "no") if isinstance(value, bool) else value
        for key, value in {**row.as_dict(), **authors}.items()
        if key not in properties
    }
    if form.is_listed:
        listed([{**known, **dict(sorted(properties.items()))}], form)
        return
    fields({**known, "status": _in_glance(row)})
    fields(dict(sorted(properties.items())))


def show_choice(target: Target, wanted: Promotion) -> None:
    """Print on stderr what decides between two images; `*` marks a difference."""
    images = [wanted.image, *([wanted.previous] if wanted.previous else [])]
    shown = Table("", "promote", *(["in place of"] if wanted.previous else []), box=None)
    described = [_decisive(image, target) for image in images]
    for name in described[0]:
        cells = [each[name] for each in described]
        if any(cells):
            mark = "*" if len(set(cells)) > 1 else " "
            add_row(shown, f"{mark} {name}", *(cell or "-" for cell in cells))
    Console(stderr=True, highlight=False).print(shown)
    for missing in shortfalls(wanted.image, target):
        click.echo(escaped(f"note: {missing}"), err=True)


def _decisive(image: Image, target: Target) -> dict[str, str | None]:
    demoted, rejected = image.time(DEMOTED_AT), rejected_at(image)
    demotion = authorship(image, DEMOTED_BY, demoted)
    rejection = authorship(image, REJECTED_BY, rejected)
    return {
        "id": image.id,
        "state": image_state(image, target).replace("_", " "),
        "created": f"{iso(image.created_at)}, {age_of(image.created_at, datetime.now(UTC))} ago",
        "source": image.property("source_version_name"),
        "HAProxy": image.property("haproxy_version"),
        "kernel": image.property("kernel_version"),
        "agent": image.property("amphora_agent_version"),
        "verified": image.property("retrofit_verification"),
        "demoted": None if demoted is None else iso(demoted),
        "demoted by": None if demotion is None else demotion.phrase(),
        "rejected": None if rejected is None else iso(rejected),
        "rejected by": None if rejection is None else rejection.phrase(),
    }


def show_retirement(previews: Sequence[tuple[Target, Rotation]], output: Form | str) -> None:
    """Print which images would be deleted, and why others stay."""
    documents = [
        {
            "target": target.name,
            "retire": list(ids(rotation.retire)),
            "notes": list(rotation.notes),
            "kept": list(rotation.kept),
        }
        for target, rotation in previews
    ]
    form = Form.of(output)
    if form.is_document:
        structured(enveloped(documents), form)
        return
    if form.is_listed:
        listed(documents, form)
        return
    for document in documents:
        fields(
            {
                "target": document["target"],
                "would retire": document["retire"] or "nothing",
                "stay": [*document["notes"], *document["kept"]],
            }
        )


def show_built(built: BuiltImage, output: Form | str) -> None:
    """Print what a build made; sizes are bytes."""
    document = {
        "path": str(built.path),
        "disk_format": built.disk_format,
        "size": built.size,
        "virtual_size": built.virtual_size,
        "min_disk": built.min_disk,
        "sha512": built.sha512,
    }
    form = Form.of(output)
    if form.is_document:
        structured(document, form)
    elif form.is_listed:
        listed([document], form)
    else:
        fields(document)


def show_verdict(verdict: Verdict, log_dir: Path, output: Form | str) -> None:
    """Print every check of a verification, and where its evidence is."""
    document = {**VerificationDocument.of(verdict).as_dict(), "log_dir": str(log_dir)}
    form = Form.of(output)
    if form.is_document:
        structured(document, form)
        return
    checks = [
        {"Check": check.name, "Outcome": str(check.outcome), "Detail": check.detail}
        for check in verdict.checks
    ]
    listed(checks, form, usual=("Check", "Outcome", "Detail"))
    if form.is_listed:
        return
    result = "passed" if verdict.passed else f"failed ({len(verdict.failures)} checks)"
    fields({"result": result, "how": verdict.how, **verdict.facts, "evidence": log_dir})
