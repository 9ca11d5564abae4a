"""What runs did or would do, and the status of targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from retrofit.cli.form import Form
from retrofit.cli.render.form import (
    enveloped,
    error_lines,
    fields,
    is_narrow,
    listed,
    source_line,
    structured,
)
from retrofit.operations.history import RunLogs
from retrofit.plan import Pause, Plan
from retrofit.plan.document import plan_as_dict
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import PackageDocument, ReportDocument, VerificationDocument
from retrofit.status.models import (
    FailedBuildDocument,
    FailingDocument,
    FreshnessDocument,
    PlanDocument,
    TargetStatus,
)
from retrofit.system.escape import escaped
from retrofit.system.sizes import size_in_words
from retrofit.times import age_of, iso

if TYPE_CHECKING:
    from retrofit.operations.cancel import Cancelled

UPDATES_SHOWN = 10
"""Newer packages that a table lists; a source image of last year has hundreds."""
CVES_SHOWN = 5
"""CVE ids of one package that a table lists."""


def show_reports(reports: Sequence[RunReport], output: Form | str) -> None:
    """Print what runs did, in the one envelope."""
    documents = [report.document() for report in reports]
    form = Form.of(output)
    if form.is_document:
        structured(enveloped([document.as_dict() for document in documents]), form)
        return
    _print(
        form,
        [
            {
                "target": document.target,
                "action": None if document.is_run else document.action,
                "outcome": document.outcome,
                "reasons": document.reasons,
                "notes": document.notes,
                "source": source_line(document.source),
                "promoted image": document.image_id,
                "demoted": document.demoted,
                "retired": document.retired,
                "cleaned up": document.cleaned_up,
                "adopted": document.adopted,
                "load balancers": [
                    f"{each.name or each.id}: {each.outcome} in {each.seconds} s"
                    for each in document.load_balancers
                ],
                "packages changed": [_change_line(change) for change in document.packages],
                "steps": [f"{step.name} {step.seconds} s" for step in document.steps],
                "verification": _verification_line(document.verification),
                "error": error_lines(document.error),
                "ordered by": None if document.is_run else document.by,
                "logs": document.log_dir,
                "run": document.run_id,
            }
            for document in documents
        ],
    )


def show_plans(plans: Sequence[Plan], output: Form | str, *, verbose: bool) -> None:
    """Print what runs would do."""
    documents = [plan_as_dict(plan) for plan in plans]
    form = Form.of(output)
    if form.is_document:
        structured(enveloped(documents), form)
        return
    records = []
    for document in documents:
        outline = PlanDocument.model_validate(document)
        rejected = [f"{no['image']}: {no['reason']}" for no in document["rejected"]]
        records.append(
            {
                "target": document["target"],
                "action": document["action"],
                "paused": document["paused"] and document["paused"]["reason"],
                "reasons": document["reasons"],
                "held back by": _failure_lines(outline.held_back_by),
                "notes": document["notes"],
                "source": source_line(outline.source),
                "trust": document["trust"] and document["trust"]["note"],
                "newer packages": _update_lines(outline.freshness),
                "Octavia's release": document["octavia_release"],
                "promoted image": document["promoted"],
                "would take over": [
                    f"{each['image']}: {each['reason']}" for each in document["carry_over"]
                ],
                "would demote": document["demote"],
                "would retire": document["retire"],
                "would no longer keep": document["displaced"],
                "would clean up": document["clean_up"],
                "passed over": rejected
                if verbose
                else f"{len(rejected)} image{'' if len(rejected) == 1 else 's'} (-v lists them)",
            }
        )
    _print(form, records)


def show_status(statuses: Sequence[TargetStatus], output: Form | str) -> None:
    """Print the status of targets."""
    form = Form.of(output)
    if form.is_document:
        structured(enveloped([status.as_dict() for status in statuses]), form)
        return
    records = []
    for status in statuses:
        image, last = status.promoted, status.last_run
        records.append(
            {
                "target": status.target,
                "state": status.state_words,
                "summary": status.summary,
                "next run": status.next_run.sentence,
                "cloud": status.cloud,
                "newer packages": _update_lines(status.freshness),
                "Octavia's release": status.next_run.octavia_release,
                "promoted image": image and f"{image.id} ({image.name})",
                "source": image and f"{image.source_product_name} {image.source_version_name}",
                "age": image and age_of(image.created_at, datetime.now(UTC)),
                "verified": image
                and f"{image.retrofit_verified_at} ({image.retrofit_verification})",
                "HAProxy": image and image.haproxy_version,
                "agent": image and image.amphora_agent_version,
                "kernel": image and image.kernel_version,
                "image Octavia selects": status.octavia_image
                or (status.asked_at and "nothing: no image carries the tag"),
                "images": status.images,
                "warnings": status.warnings,
                "paused": _pause_line(
                    None if status.paused is None else status.paused.as_dict(), status.target
                ),
                "builds fail": _failure_lines(status.failing),
                "last run": last and f"{last.outcome}, {iso(last.started_at)} ({last.run_id})",
                "last error": error_lines(last.error if last else None),
                "run": last and last.run_id,
                "outcome": last and last.outcome,
                "id": image and image.id,
            }
        )
    _print(form, records, hidden=("run", "outcome", "id"))


def _print(form: Form, records: Sequence[Mapping[str, Any]], *, hidden: Sequence[str] = ()) -> None:
    """Print one block of fields for each record; `hidden` ones only where they are asked for."""
    if form.is_listed:
        listed(records, form)
        return
    for record in records:
        fields({name: value for name, value in record.items() if name not in hidden})


def _update_lines(freshness: FreshnessDocument | None) -> list[str] | None:
    """Return what the archive has that the promoted image lacks; None where nobody looked."""
    if freshness is None:
        return None
    kinds = {
        "security": freshness.security,
        "other": freshness.other,
        "held in a build": freshness.held,
        "agent": freshness.agent,
    }
    lines = [
        f"{kind}: {update.package} {update.installed} -> {update.candidate}{_cves(update.cves)}"
        for kind, updates in kinds.items()
        for update in updates
    ]
    shown = lines[:UPDATES_SHOWN]
    if len(lines) > UPDATES_SHOWN:
        shown.append(f"and {len(lines) - UPDATES_SHOWN} more: `-f json` lists them")
    if freshness.unknown is not None:
        shown.append(f"unknown: {freshness.unknown}")
    return shown or ["none"]


def _cves(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - CVES_SHOWN} more" if len(ids) > CVES_SHOWN else ""
    return f" ({', '.join(ids[:CVES_SHOWN])}{more})" if ids else ""


def _change_line(change: PackageDocument) -> str:
    cves = f" ({', '.join(change.cves)})" if change.cves else ""
    if change.before is None:
        return f"{change.package} {change.after}, new"
    if change.after is None:
        return f"{change.package} {change.before}, gone"
    return f"{change.package} {change.before} -> {change.after}{cves}"


def _verification_line(verification: VerificationDocument | None) -> str | None:
    if verification is None:
        return None
    counts = Counter(check.outcome for check in verification.checks)
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification.how}: {listed}"


HISTORY = ("Run", "Action", "Outcome", "By", "Why")
WIDE_HISTORY = ("Run", "Target", "Action", "Outcome", "By", "Seconds", "Source", "Image", "Why")


def show_history(reports: Sequence[ReportDocument], output: Form | str) -> None:
    """Print past runs, one a line."""
    form = Form.of(output)
    if form.is_document:
        brief = [report.model_dump(mode="json", exclude={"verification"}) for report in reports]
        structured(brief, form)
        return
    rows = []
    for report in reports:
        why = report.error.message if report.error else "; ".join(report.reasons)
        if report.order:
            why = f"{report.order} ({why})" if why else report.order
        if not form.is_listed:
            why = shorten(why, width=120, placeholder="...")
        rows.append(
            {
                "Run": report.run_id,
                "Target": report.target,
                "Action": report.action,
                "Outcome": report.outcome,
                "By": report.by,
                "Started": iso(report.started_at),
                "Seconds": round(report.duration.total_seconds()),
                "Source": report.source.version if report.source else None,
                "Image": report.image_id,
                "Why": why,
            }
        )
    listed(rows, form, usual=HISTORY if is_narrow() else WIDE_HISTORY)


def show_run(logs: RunLogs, output: Form | str) -> None:
    """Print one run's report and events, and list its log files."""
    directory, report = logs.directory, logs.report
    form = Form.of(output)
    if form.is_document:
        document = {
            "run_id": directory.name,
            "directory": str(directory),
            "report": None if report is None else report.as_dict(),
            "events": list(logs.events),
            "files": [{"name": name, "size": size} for name, size in logs.files.items()],
        }
        structured(document, form)
        return
    if form.is_listed:
        listed([{"File": name, "Size": size} for name, size in logs.files.items()], form)
        return
    for event in logs.events:
        click.echo(escaped(_event_line(event)))
    if report is not None:
        fields(
            {
                "run": directory.name,
                "target": report.target,
                "outcome": report.outcome,
                "reasons": report.reasons,
                "notes": report.notes,
                "verification": _verification_line(report.verification),
                "error": error_lines(report.error),
            }
        )
    click.echo(escaped(f"log files in {directory}:"))
    fields({name: size_in_words(size) for name, size in logs.files.items()})


def show_pauses(documents: Sequence[dict[str, Any]], output: Form | str) -> None:
    """Print how targets are paused, or no longer are."""
    form = Form.of(output)
    if form.is_document:
        structured(enveloped(documents), form)
        return
    _print(
        form,
        [
            {
                "target": document["target"],
                "paused": _pause_line(document["paused"], document["target"]) or "no",
                "seen by": document.get("seen_by"),
                "was paused": _pause_line(document.get("was")),
            }
            for document in documents
        ],
    )


def show_cancelled(cancelled: Cancelled, output: Form | str) -> None:
    """Print which run was ended."""
    form, run = Form.of(output), cancelled.run
    document = {
        "target": cancelled.target,
        "run_id": run.run_id,
        "pid": run.pid,
        "since": None if run.since is None else iso(run.since),
        "step": run.doing,
    }
    if form.is_document:
        structured(enveloped([document]), form)
        return
    _print(form, [{"target": cancelled.target, "ended": run.phrase()}])


def _event_line(event: Mapping[str, Any]) -> str:
    """Return an event in one line; control characters stay visible."""
    named = ("timestamp", "level", "event", "run_id", "target")
    facts = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in named)
    return f"{event.get('timestamp', '')} {event.get('level', '')}: {event.get('event')!s} {facts}"


def _pause_line(pause: dict[str, Any] | None, target: str | None = None) -> str | None:
    return None if pause is None else Pause.from_dict(pause).phrase(target)


def _failure_lines(failing: FailedBuildDocument | None) -> list[str] | None:
    if failing is None:
        return None
    retry: list[str] = []
    if isinstance(failing, FailingDocument):
        retry = [f"tried again from {iso(failing.retry_at)}"]
    return [f"{failing.count} times, last in {failing.run_id}", failing.message, *retry]
