"""Reports of past runs as we rely on them: the files may be damaged, or of another version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrofit.times import read_time

LONGEST_STEP = 10**7
"""Seconds; longer than a step ever takes, and still a number that a date can be moved by."""
MOST_STEPS = 1000


def past_report(report: Any) -> dict[str, Any] | None:
    """Return a report with all that is relied on in its form; None for what is none of ours."""
    if not isinstance(report, Mapping) or read_time(report.get("started_at")) is None:
        return None
    if not all(isinstance(report.get(key), str) for key in ("run_id", "target", "outcome")):
        return None
    return {
        **report,
        "action": _text(report.get("action"), "run"),
        "reasons": _texts(report.get("reasons")),
        "notes": _texts(report.get("notes")),
        "promoted": _texts(report.get("promoted")),
        "image_id": _maybe(report.get("image_id")),
        "source": _record(report.get("source"), product="unknown", version="unknown", id=None),
        "steps": [
            {"name": step["name"], "seconds": step["seconds"]}
            for step in _records(report.get("steps"))[:MOST_STEPS]
            if isinstance(step.get("name"), str) and _is_a_length(step.get("seconds"))
        ],
        "error": _record(report.get("error"), code="internal", message="unknown", hint=None),
        "verification": _verification(report.get("verification")),
    }


def _verification(record: Any) -> dict[str, Any] | None:
    if not isinstance(record, Mapping):
        return None
    blank = {"name": "unknown", "outcome": "unknown", "detail": ""}
    checks = [_record(check, **blank) for check in _records(record.get("checks"))]
    return {**record, "how": _text(record.get("how"), "unknown"), "checks": checks}


def _record(record: Any, **defaults: str | None) -> dict[str, Any] | None:
    """Return a table whose values for the named keys are texts; None for what is no table."""
    if not isinstance(record, Mapping):
        return None
    kept = {key: _maybe(record.get(key)) for key in defaults}
    texts = {key: defaults[key] if value is None else value for key, value in kept.items()}
    return {**record, **texts}


def _records(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_a_length(value: Any) -> bool:
    """Say whether a step may have taken so long; json reads NaN, and numbers of any length."""
    return isinstance(value, int | float) and 0 <= value <= LONGEST_STEP


def _text(value: Any, default: str) -> str:
    return value if isinstance(value, str) else default


def _maybe(value: Any) -> str | None:
    return value if isinstance(value, str) else None
