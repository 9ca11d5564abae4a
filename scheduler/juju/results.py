"""Pure: reports and statuses as the flat results of a Juju action.

The keys are a contract that only grows: all of them are always there, some of them empty. Of
several targets each has its keys with its name before them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retrofit.model import SERIES_RELEASES, Product
from retrofit.runs.report_document import ReportDocument, VerificationDocument
from retrofit.status.models import TargetStatus
from retrofit.times import iso

if TYPE_CHECKING:  # what it needs of OpenStack is imported where it is done
    from retrofit.operations.rollover import RolloverPreview

Facts = dict[str, str]


def of_report(report: ReportDocument) -> Facts:
    """Flatten the report of a run."""
    source, error = report.source, report.error
    return {
        "target": report.target,
        "outcome": report.outcome,
        "reasons": "; ".join(report.reasons),
        "notes": "; ".join(report.notes),
        "image-id": report.image_id or "",
        "source-image": (source and source.id) or "",
        "source-product": source.product if source else "",
        "source-version": source.version if source else "",
        "source-series": series_of(source.product if source else None),
        "promoted": ",".join(report.promoted),
        "demoted": ",".join(report.demoted),
        "retired": ",".join(report.retired),
        "cleaned-up": ",".join(report.cleaned_up),
        "verification": _verification(report.verification),
        "seconds": str(report.seconds),
        "run-id": report.run_id,
        "log-dir": report.log_dir,
        "error-code": error.code if error else "",
        "error-message": error.message if error else "",
        "error-hint": (error and error.hint) or "",
    }


def series_of(product: str | None) -> str:
    """Return the series of a product's name, which nobody may have named; empty for none."""
    parsed = Product.parse(product or "")
    names = {release: name for name, release in SERIES_RELEASES.items()}
    return "" if parsed is None else names.get(parsed.release, parsed.release)


def of_status(status: TargetStatus) -> Facts:
    """Flatten the status of a target."""
    image, paused, failing, last = (
        status.promoted,
        status.paused,
        status.failing,
        status.last_run,
    )
    unanswered = status.cloud_error
    return {
        "target": status.target,
        "state": status.state,
        "summary": status.summary,
        "next-run": status.next_run.sentence,
        "cloud": status.cloud or "",
        "tag": status.tag,
        "image-id": image.id if image else "",
        "image-name": image.name if image else "",
        "image-age-days": f"{image.age_days:.1f}" if image else "",
        "source-product": (image and image.source_product_name) or "",
        "source-version": (image and image.source_version_name) or "",
        "source-series": series_of(image.source_product_name if image else None),
        "verified-at": (image and image.retrofit_verified_at) or "",
        "verification": (image and image.retrofit_verification) or "",
        "octavia-image": status.octavia_image or "",
        "images": "" if status.images is None else str(status.images),
        "warnings": "; ".join(status.warnings),
        "paused": "yes" if paused else "no",
        "paused-reason": paused.reason if paused else "",
        "paused-until": _time(paused.until if paused else None),
        "failed-builds": str(failing.count if failing else 0),
        "failing-message": failing.message if failing else "",
        "retry-at": _time(failing.retry_at if failing else None),
        "last-outcome": last.outcome if last else "never",
        "last-started-at": _time(last.started_at if last else None),
        "last-run-id": last.run_id if last else "",
        "last-error": last.error.message if last and last.error else "",
        "last-success-at": _time(status.last_success_at),
        "error-code": unanswered.code if unanswered else "",
        "error-message": unanswered.message if unanswered else "",
        "error-hint": (unanswered and unanswered.hint) or "",
    }


def of_rollover(report: ReportDocument) -> Facts:
    """Flatten the report of a rollover."""
    moves = report.load_balancers
    return {
        **of_report(report),
        "moved": ",".join(each.id for each in moves if each.outcome == "moved"),
        "failed": ",".join(each.id for each in moves if each.outcome == "failed"),
        "halted": "yes" if report.halted else "no",
    }


def of_preview(preview: RolloverPreview) -> Facts:
    """Flatten what a rollover would do: a line a load balancer, with the time and the reason."""
    planned = preview.as_dict()
    steps = [
        f"{each['at']} {each['name'] or each['id']}: {each['reason']}" for each in planned["steps"]
    ]
    stays = [f"{each['name'] or each['id']}: {each['reason']}" for each in planned["left"]]
    return {
        "target": preview.target,
        "image-id": planned["image_id"] or "",
        "due": str(preview.due),
        "schedule": "; ".join(steps),
        "left": "; ".join(stays),
        "end": planned["end"],
    }


def of_pause(document: Mapping[str, Any]) -> Facts:
    """Flatten how a target is paused, or no longer is."""
    paused = document["paused"] or {}
    was = document.get("was") or {}
    return {
        "target": document["target"],
        "paused": "yes" if paused else "no",
        "paused-reason": paused.get("reason") or "",
        "paused-until": paused.get("until") or "",
        "seen-by": document.get("seen_by") or "",
        "was-paused-reason": was.get("reason") or "",
    }


def joined(documents: Sequence[Facts]) -> Facts:
    """Return the results of one target as they are, of several with their names before the keys."""
    if len(documents) == 1:
        return documents[0]
    return {
        f"{re.sub('[._]', '-', facts['target'])}-{key}": value
        for facts in documents
        for key, value in facts.items()
    }


def _time(when: datetime | None) -> str:
    return "" if when is None else iso(when)


def _verification(verification: VerificationDocument | None) -> str:
    if verification is None:
        return ""
    counts = Counter(check.outcome for check in verification.checks)
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification.how}: {listed}"
