"""How a run's end changes the state of its target, and what is to be told of it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from retrofit import __version__
from retrofit.chronicle import Chronicle
from retrofit.times import read_time

SUCCEEDED = frozenset({"published", "unchanged"})
FAILED = frozenset({"failed", "waiting"})


def concluded(
    before: Chronicle,
    report: Mapping[str, Any],
    *,
    now: datetime,
    too_old: timedelta,
    host: str,
) -> tuple[Chronicle, list[dict[str, Any]]]:
    """Return what is remembered after a run, and the changes of state that it made.

    `report` is a RunReport as JSON types. Of what is done by hand only a change of the promoted
    image is told: whoever does it sees the rest.
    """
    after = _counted(before, report) if _is_run(report) else before
    after = _image_seen(after, report, now)
    changes: list[dict[str, Any]] = []

    def tell(event: str, summary: str, **more: Any) -> None:
        nonlocal after
        after = replace(after, told=after.told + 1)
        changes.append(
            {
                "id": f"{host}/{report['target']}/{after.epoch}-{after.told}",
                "event": event,
                "at": now.isoformat(timespec="seconds"),
                "target": report["target"],
                "host": host,
                "run_id": report["run_id"],
                "action": report["action"],
                "summary": summary,
                "image_id": after.image_id,
                "image_created_at": after.image_created_at,
                "error": report["error"],
                "log_dir": report["log_dir"],
                "retrofit_version": __version__,
                **more,
            }
        )

    if _failed(report):
        if before.failing_since is None:
            after = replace(after, failing_since=report["started_at"])
            tell("failed", f"{_who(report)}: {report['error']['message']}")
    elif _succeeded(report) and before.failing_since is not None:
        after = replace(after, failing_since=None)
        tell(
            "recovered",
            f"{_who(report)}: runs succeed again; they failed since {before.failing_since}",
            failing_since=before.failing_since,
        )
    if report["promoted"]:
        why = "; ".join(report["reasons"]) or "by hand"
        tell("published", f"{_who(report)}: image {after.image_id} is promoted ({why})")
    created = read_time(after.image_created_at)
    if created is not None and now - created >= too_old and after.too_old != after.image_id:
        after = replace(after, too_old=after.image_id)
        tell(
            "too_old",
            f"{_who(report)}: the promoted image {after.image_id} is {(now - created).days} days"
            f" old, more than {too_old.days} (notify.too_old)",
        )
    return after, changes


def _counted(before: Chronicle, report: Mapping[str, Any]) -> Chronicle:
    outcome = report["outcome"]
    if outcome == "busy":  # that run is another one's, which counts itself
        return replace(before, runs=_one_more(before.runs, outcome))
    ended = read_time(report["started_at"])
    if ended is not None:
        ended += timedelta(seconds=sum(step["seconds"] for step in report["steps"]))
    at = ended.isoformat(timespec="seconds") if ended else report["started_at"]
    return replace(
        before,
        runs=_one_more(before.runs, outcome),
        seconds={
            **before.seconds,
            **{step["name"]: step["seconds"] for step in report["steps"]},
        },
        last_run_at=at,
        last_outcome=outcome,
        last_success_at=at if outcome in SUCCEEDED else before.last_success_at,
    )


def _one_more(counts: Mapping[str, int], outcome: str) -> dict[str, int]:
    return {**counts, outcome: counts.get(outcome, 0) + 1}


def _image_seen(before: Chronicle, report: Mapping[str, Any], now: datetime) -> Chronicle:
    """Take over which image the run saw promoted, where it came so far."""
    image_id = report["image_id"]
    if image_id is None:
        return before
    created = report.get("image_created_at")
    if created is None and image_id == before.image_id:
        created = before.image_created_at
    if created is None and report["promoted"] and _is_run(report):
        created = now.isoformat(timespec="seconds")
    return replace(before, image_id=image_id, image_created_at=created)


def _is_run(report: Mapping[str, Any]) -> bool:
    return bool(report["action"] == "run")


def _failed(report: Mapping[str, Any]) -> bool:
    """Say whether a run failed; one that somebody stopped did not."""
    return (
        _is_run(report)
        and report["outcome"] in FAILED
        and report["error"] is not None
        and report["error"]["code"] != "interrupted"
    )


def _succeeded(report: Mapping[str, Any]) -> bool:
    return _is_run(report) and report["outcome"] in SUCCEEDED


def _who(report: Mapping[str, Any]) -> str:
    return f"target {report['target']}"
