"""Pure: reports and standings as the flat results of a Juju action.

The keys are a contract that only grows: all of them are always there, empty where there is
nothing to say. Of several targets each has its keys with its name before them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Facts = dict[str, str]


def of_report(report: Mapping[str, Any]) -> Facts:
    """Flatten what RunReport.as_dict returns."""
    source = report["source"] or {}
    error = report["error"] or {}
    return {
        "target": report["target"],
        "outcome": report["outcome"],
        "reasons": _told(report["reasons"]),
        "notes": _told(report["notes"]),
        "image-id": report["image_id"] or "",
        "source-image": source.get("id") or "",
        "source-product": source.get("product") or "",
        "source-version": source.get("version") or "",
        "promoted": ",".join(report["promoted"]),
        "demoted": ",".join(report["demoted"]),
        "retired": ",".join(report["retired"]),
        "swept": ",".join(report["swept"]),
        "verification": _verification(report["verification"]),
        "seconds": str(report["seconds"]),
        "run-id": report["run_id"],
        "log-dir": report["log_dir"],
        "error-code": error.get("code") or "",
        "error-message": error.get("message") or "",
        "error-hint": error.get("hint") or "",
    }


def of_status(status: Mapping[str, Any]) -> Facts:
    """Flatten what `retrofit status` shows of a target."""
    image = status["promoted"] or {}
    paused = status["paused"] or {}
    failing = status["failing"] or {}
    last = status["last_run"] or {}
    silent = status["cloud_error"] or {}
    return {
        "target": status["target"],
        "state": status["state"],
        "summary": status["summary"],
        "next-run": status["next_run"]["sentence"],
        "cloud": status["cloud"] or "",
        "tag": status["tag"],
        "image-id": image.get("id") or "",
        "image-name": image.get("name") or "",
        "image-age-days": _number(image.get("age_days")),
        "source-product": image.get("source_product_name") or "",
        "source-version": image.get("source_version_name") or "",
        "verified-at": image.get("retrofit_verified_at") or "",
        "verification": image.get("retrofit_verification") or "",
        "octavia-takes": status["octavia_takes"] or "",
        "images": _number(status["images"]),
        "warnings": _told(status["warnings"]),
        "paused": "yes" if paused else "no",
        "paused-reason": paused.get("reason") or "",
        "paused-until": paused.get("until") or "",
        "failed-builds": _number(failing.get("count", 0)),
        "failing-message": failing.get("message") or "",
        "retry-at": failing.get("retry_at") or "",
        "last-outcome": last.get("outcome") or "never",
        "last-started-at": last.get("started_at") or "",
        "last-run-id": last.get("run_id") or "",
        "last-error": (last.get("error") or {}).get("message") or "",
        "last-success-at": status["last_success_at"] or "",
        "error-code": silent.get("code") or "",
        "error-message": silent.get("message") or "",
        "error-hint": silent.get("hint") or "",
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


def _told(sentences: Iterable[str]) -> str:
    return "; ".join(sentences)


def _number(value: float | None) -> str:
    return "" if value is None else str(value)


def _verification(verification: Mapping[str, Any] | None) -> str:
    if verification is None:
        return ""
    counts = Counter(check["outcome"] for check in verification["checks"])
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return f"{verification['how']}: {listed}"
