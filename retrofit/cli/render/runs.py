"""What runs did or would do, and how targets stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import click
from rich.table import Table

from retrofit.plan import Pause, Plan, ids
from retrofit.render.form import add_row, console, error_lines, fields, source_line, structured
from retrofit.report import RunReport
from retrofit.run_logs import events, read_report
from retrofit.visible import visible


def show_reports(reports: Sequence[RunReport], output: str) -> None:
    """Print what runs did: one report as itself, several as a list under `runs`."""
    documents = [report.as_dict() for report in reports]
    if output != "table":
        failed = [document for document in documents if document["error"]]
        several = {
            "outcome": "failed" if failed else "published",
            "runs": documents,
        }
        structured(documents[0] if len(documents) == 1 else several, output)
        return
    for document in documents:
        fields(
            {
                "target": document["target"],
                "action": document["action"] if document["action"] != "run" else None,
                "outcome": document["outcome"],
                "reasons": document["reasons"],
                "notes": document["notes"],
                "source": source_line(document["source"]),
                "promoted image": document["image_id"],
                "demoted": document["demoted"],
                "retired": document["retired"],
                "swept": document["swept"],
                "steps": [f"{step['name']} {step['seconds']} s" for step in document["steps"]],
                "verification": _verification_line(document["verification"]),
                "error": error_lines(document["error"]),
                "logs": document["log_dir"],
            }
        )


def show_plans(plans: Sequence[Plan], output: str, *, verbose: bool) -> None:
    """Print what runs would do."""
    documents = [plan_as_dict(plan) for plan in plans]
    if output != "table":
        structured(documents[0] if len(documents) == 1 else {"plans": documents}, output)
        return
    for document in documents:
        rejected = [f"{no['image']}: {no['reason']}" for no in document["rejected"]]
        fields(
            {
                "target": document["target"],
                "action": document["action"],
                "paused": document["paused"] and document["paused"]["reason"],
                "reasons": document["reasons"],
                "held back by": _failure_lines(document["held_back_by"]),
                "notes": document["notes"],
                "source": source_line(document["source"]),
                "trust": document["trust"] and document["trust"]["note"],
                "promoted image": document["promoted"],
                "would demote": document["demote"],
                "would retire": document["retire"],
                "would sweep": document["sweep"],
                "passed over": rejected if verbose else f"{len(rejected)} images (-v lists them)",
            }
        )


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON types."""
    decision, source = plan.decision, plan.choice.source
    held_back = None if decision is None else decision.held_back
    action = "none"
    if plan.pause is not None:
        action = "paused"
    elif decision is None or plan.refusal is not None:
        action = "fail"
    elif decision.build:
        action = "build"
    elif decision.promote is not None:
        action = "promote"
    elif decision.held_back is not None:
        action = "wait"
    return {
        "target": plan.target,
        "action": action,
        "paused": None if plan.pause is None else plan.pause.as_dict(),
        "reasons": [] if decision is None else list(decision.reasons),
        "held_back_by": None if held_back is None else held_back.as_dict(),
        "notes": [*plan.warnings, *(decision.notes if decision else ()), *plan.rotation.notes],
        "wanted": plan.choice.wanted,
        "trust": None
        if plan.vouched is None
        else {"level": plan.vouched.level, "note": plan.vouched.note},
        "source": None
        if source is None
        else {"id": source.id, "product": source.product, "version": source.version},
        "rejected": [{"image": no.subject, "reason": no.reason} for no in plan.choice.rejected],
        "promoted": None if plan.promoted is None else plan.promoted.id,
        "promote": decision.promote.id if decision is not None and decision.promote else None,
        "demote": _would_demote(plan),
        "retire": list(ids(plan.rotation.retire)),
        "sweep": list(ids(plan.sweep)),
    }


def _would_demote(plan: Plan) -> list[str]:
    """Name what would lose the tag: where a build is to come, also what stands promoted now."""
    builds = plan.decision is not None and plan.decision.build
    replaced = (plan.promoted,) if builds and plan.promoted is not None else ()
    return list(ids((*replaced, *plan.rotation.demote)))


def show_status(statuses: Sequence[dict[str, Any]], output: str) -> None:
    """Print how targets stand."""
    if output != "table":
        structured(statuses[0] if len(statuses) == 1 else {"targets": list(statuses)}, output)
        return
    for status in statuses:
        image, last = status["promoted"], status["last_run"]
        fields(
            {
                "target": status["target"],
                "state": status["state_words"],
                "in short": status["summary"],
                "next run": status["next_run"]["sentence"],
                "cloud": status["cloud"],
                "promoted image": image and f"{image['id']} ({image['name']})",
                "source": image
                and f"{image['source_product_name']} {image['source_version_name']}",
                "age": image and f"{image['age_days']} days",
                "verified": image
                and f"{image['retrofit_verified_at']} ({image['retrofit_verification']})",
                "HAProxy": image and image["haproxy_version"],
                "agent": image and image["amphora_agent_version"],
                "kernel": image and image["kernel_version"],
                "Octavia takes": status["octavia_takes"]
                or (status["asked_at"] and "nothing: no image carries the tag"),
                "images": status["images"],
                "warnings": status["warnings"],
                "paused": _pause_line(status["paused"]),
                "builds fail": _failure_lines(status["failing"]),
                "last run": last and f"{last['outcome']}, {last['started_at']} ({last['run_id']})",
                "last error": error_lines(last["error"]) if last else None,
            }
        )


def _verification_line(verification: dict[str, Any] | None) -> str | None:
    if verification is None:
        return None
    counts = Counter(check["outcome"] for check in verification["checks"])
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification['how']}: {listed}"


def show_history(reports: Sequence[dict[str, Any]], output: str) -> None:
    """Print past runs, one a line."""
    if output != "table":
        brief = [{key: value for key, value in r.items() if key != "verification"} for r in reports]
        structured(brief, output)
        return
    table = Table("Run", "Target", "Action", "Outcome", "Seconds", "Source", "Image", "Why")
    for report in reports:
        why = report["error"]["message"] if report.get("error") else "; ".join(report["reasons"])
        cells = (
            report["run_id"],
            report["target"],
            report.get("action", "run"),
            report["outcome"],
            round(sum(step["seconds"] for step in report["steps"])),
            report["source"]["version"] if report["source"] else "",
            report["image_id"] or "",
            shorten(why, width=120, placeholder="..."),
        )
        add_row(table, *cells)
    console().print(table)


def show_run(directory: Path, output: str) -> None:
    """Print one run's report and story, and name its log files."""
    report = read_report(directory)
    told = list(events(directory))
    files = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    if output != "table":
        document = {
            "run_id": directory.name,
            "directory": str(directory),
            "report": report,
            "events": told,
            "files": [{"name": name, "size": size} for name, size in files.items()],
        }
        structured(document, output)
        return
    for event in told:
        click.echo(visible(_event_line(event)))
    if report is not None:
        fields(
            {
                "run": directory.name,
                "target": report["target"],
                "outcome": report["outcome"],
                "reasons": report["reasons"],
                "notes": report["notes"],
                "verification": _verification_line(report["verification"]),
                "error": error_lines(report["error"]),
            }
        )
    fields({f"{directory}/{name}": f"{size} bytes" for name, size in files.items()})


def show_pauses(documents: Sequence[dict[str, Any]], output: str) -> None:
    """Print how targets are paused, or no longer are."""
    if output != "table":
        structured(documents[0] if len(documents) == 1 else {"targets": list(documents)}, output)
        return
    for document in documents:
        fields(
            {
                "target": document["target"],
                "paused": _pause_line(document["paused"]) or "no",
                "seen by": document.get("seen_by"),
                "was paused": _pause_line(document.get("was")),
            }
        )


def _event_line(event: dict[str, Any]) -> str:
    """Say an event in one line; control characters of whatever it tells of stay visible."""
    told = ("timestamp", "level", "event", "run_id", "target")
    facts = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in told)
    return f"{event.get('timestamp', '')} {event.get('level', '')}: {event.get('event')!s} {facts}"


def _pause_line(pause: dict[str, Any] | None) -> str | None:
    return None if pause is None else Pause.from_dict(pause).phrase()


def _failure_lines(failing: dict[str, Any] | None) -> list[str] | None:
    if failing is None:
        return None
    tried = [f"tried again from {failing['retry_at']}"] if "retry_at" in failing else []
    return [f"{failing['count']} times, last in {failing['run_id']}", failing["message"], *tried]
