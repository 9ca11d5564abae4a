"""stdout is the answer: tables for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrofit.config import Settings, Target
from retrofit.model import BuiltImage, Verdict
from retrofit.plan import Inventory, Plan, ids
from retrofit.report import RunReport, verdict_as_dict
from retrofit.status import image_as_dict


def show_reports(reports: Sequence[RunReport], output: str) -> None:
    """Print what runs did: one report as itself, several as a list under `runs`."""
    documents = [report.as_dict() for report in reports]
    if output != "table":
        failed = [document for document in documents if document["error"]]
        several = {
            "outcome": "failed" if failed else "published",
            "runs": documents,
        }
        _structured(documents[0] if len(documents) == 1 else several, output)
        return
    for document in documents:
        _fields(
            {
                "target": document["target"],
                "outcome": document["outcome"],
                "reasons": document["reasons"],
                "notes": document["notes"],
                "source": _source_line(document["source"]),
                "promoted image": document["image_id"],
                "demoted": document["demoted"],
                "retired": document["retired"],
                "swept": document["swept"],
                "steps": [f"{step['name']} {step['seconds']} s" for step in document["steps"]],
                "verification": _verification_line(document["verification"]),
                "error": _error_lines(document["error"]),
                "logs": document["log_dir"],
            }
        )


def show_plans(plans: Sequence[Plan], output: str, *, verbose: bool) -> None:
    """Print what runs would do."""
    documents = [plan_as_dict(plan) for plan in plans]
    if output != "table":
        _structured(documents[0] if len(documents) == 1 else {"plans": documents}, output)
        return
    for document in documents:
        rejected = [f"{no['image']}: {no['reason']}" for no in document["rejected"]]
        _fields(
            {
                "target": document["target"],
                "action": document["action"],
                "reasons": document["reasons"],
                "notes": document["notes"],
                "source": _source_line(document["source"]),
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
    action = "none"
    if decision is None:
        action = "fail"
    elif decision.build:
        action = "build"
    elif decision.promote is not None:
        action = "promote"
    return {
        "target": plan.target,
        "action": action,
        "reasons": [] if decision is None else list(decision.reasons),
        "notes": [*plan.warnings, *(decision.notes if decision else ()), *plan.rotation.notes],
        "wanted": plan.choice.wanted,
        "source": None
        if source is None
        else {"id": source.image.id, "product": source.product, "version": source.version},
        "rejected": [{"image": no.subject, "reason": no.reason} for no in plan.choice.rejected],
        "promoted": None if plan.promoted is None else plan.promoted.id,
        "promote": decision.promote.id if decision is not None and decision.promote else None,
        "demote": list(ids(plan.rotation.demote)),
        "retire": list(ids(plan.rotation.retire)),
        "sweep": list(ids(plan.sweep)),
    }


def show_images(inventories: Sequence[tuple[Target, Inventory]], output: str) -> None:
    """Print the amphora images of targets."""
    rows = [
        image_as_dict(image, inventory, target)
        for target, inventory in inventories
        for image in inventory.ours(target.name)
    ]
    if output != "table":
        _structured(rows, output)
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
    _console().print(table)


def show_status(statuses: Sequence[dict[str, Any]], output: str) -> None:
    """Print how targets stand."""
    if output != "table":
        _structured(statuses[0] if len(statuses) == 1 else {"targets": list(statuses)}, output)
        return
    for status in statuses:
        image, last = status["promoted"], status["last_run"]
        _fields(
            {
                "target": status["target"],
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
                "Octavia takes": status["octavia_takes"] or "nothing: no image carries the tag",
                "images": status["images"],
                "warnings": status["warnings"],
                "last run": last and f"{last['outcome']}, {last['started_at']} ({last['run_id']})",
                "last error": _error_lines(last["error"]) if last else None,
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
        _structured(document, output)
    else:
        _fields(document)


def show_verdict(verdict: Verdict, log_dir: Path, output: str) -> None:
    """Print every check of a verification, and where its evidence is."""
    document = {**verdict_as_dict(verdict), "log_dir": str(log_dir)}
    if output != "table":
        _structured(document, output)
        return
    table = Table("Check", "Outcome", "Detail")
    for check in verdict.checks:
        table.add_row(*(escape(str(cell)) for cell in (check.name, check.outcome, check.detail)))
    _console().print(table)
    result = "passed" if verdict.passed else f"failed ({len(verdict.failures)} checks)"
    _fields({"result": result, "how": verdict.how, **verdict.facts, "evidence": log_dir})


def show_settings(settings: Settings, output: str) -> None:
    """Print every setting in force; there is no secret among them."""
    document = settings.model_dump(mode="json")
    _structured(document, "yaml" if output == "table" else output)


def _structured(document: Any, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def _fields(fields: dict[str, Any]) -> None:
    """Print what is known as two columns; empty values are left out."""
    table = Table("Field", "Value")
    for name, value in fields.items():
        if value in (None, "", [], ()):
            continue
        lines = [str(line) for line in value] if isinstance(value, list | tuple) else [str(value)]
        table.add_row(name, escape("\n".join(lines)))
    _console().print(table)


def _console() -> Console:
    """Return a console that wraps on a terminal and keeps lines whole in a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def _source_line(source: dict[str, Any] | None) -> str | None:
    if source is None:
        return None
    return f"{source['product']} {source['version']} ({source['id']})"


def _verification_line(verification: dict[str, Any] | None) -> str | None:
    if verification is None:
        return None
    counts = Counter(check["outcome"] for check in verification["checks"])
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification['how']}: {listed}"


def _error_lines(error: dict[str, Any] | None) -> list[str] | None:
    if error is None:
        return None
    return [error["message"], *([f"hint: {error['hint']}"] if error["hint"] else [])]
