"""What runs did or would do, and how targets stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from retrofit.plan import Plan, ids
from retrofit.render.form import error_lines, fields, source_line, structured
from retrofit.report import RunReport


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
                "reasons": document["reasons"],
                "notes": document["notes"],
                "source": source_line(document["source"]),
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
                "last error": error_lines(last["error"]) if last else None,
            }
        )


def _verification_line(verification: dict[str, Any] | None) -> str | None:
    if verification is None:
        return None
    counts = Counter(check["outcome"] for check in verification["checks"])
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification['how']}: {listed}"
