"""From facts and a clock to the document that everything shows; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from retrofit import __version__
from retrofit.config import Settings, Target
from retrofit.overview.facts import CloudFacts, LocalFacts
from retrofit.overview.words import STATES, State, next_sentence, summary
from retrofit.times import read_time

VERSION = 1
"""Of the form of the document; keys are only added within one."""
CONCLUSIVE = frozenset({"published", "unchanged", "failed", "waiting"})
SUCCEEDED = frozenset({"published", "unchanged"})
BRIEF = ("run_id", "target", "action", "outcome", "reasons", "notes", "source", "image_id", "error")


def overview(
    settings: Settings,
    cloud: Mapping[str, CloudFacts],
    local: Mapping[str, LocalFacts],
    *,
    now: datetime,
    host: str,
    since: datetime | None = None,
    letters: int = 0,
) -> dict[str, Any]:
    """Return how all targets stand, as JSON types.

    `since` is when the one who looks began to: no success before that is asked for.
    """
    targets = [
        {
            **standing(
                target,
                settings,
                cloud.get(target.name, CloudFacts()),
                local.get(target.name, LocalFacts()),
                now=now,
            ),
            "amphorae": cloud.get(target.name, CloudFacts()).audit,
            "runs": [
                _brief(report, local[target.name])
                for report in local.get(target.name, LocalFacts()).reports
            ],
        }
        for target in settings.targets
    ]
    return {
        "version": VERSION,
        "generated_at": _iso(now),
        "retrofit_version": __version__,
        "host": host,
        "health": health(targets, settings, now=now, since=since or now),
        "undelivered": letters,
        "targets": targets,
    }


def standing(
    target: Target, settings: Settings, cloud: CloudFacts, local: LocalFacts, *, now: datetime
) -> dict[str, Any]:
    """Return how one target stands, as JSON types: what `retrofit status` shows."""
    status = {
        "target": target.name,
        "cloud": target.cloud.name,
        "project_id": None,
        "tag": target.publish.tag,
        "promoted": None,
        "octavia_takes": None,
        "images": None,
        "warnings": [],
        "paused": None,
        "failing": None,
        **(cloud.status or {}),
    }
    promoted, chronicle = _aged(status["promoted"], now), local.chronicle
    last = next((each for each in local.reports if _is_run(each)), None)
    document = {
        **status,
        "promoted": promoted,
        "paused": _in_force(status["paused"], now),
        "asked_at": _iso(cloud.asked_at),
        "cloud_error": cloud.error,
        "image_states": None if cloud.status is None else image_states(cloud.images),
        "running": None
        if local.going is None
        else {
            "run_id": local.going.run_id,
            "since": _iso(local.going.since),
            "doing": local.going.doing,
        },
        "next_run": _next_run(cloud, local, now),
        "last_run": last,
        "last_success_at": _last_success(local),
        "failing_since": chronicle.failing_since,
        "run_counts": dict(chronicle.runs),
        "step_seconds": dict(chronicle.seconds),
    }
    states = states_of(document, settings, local, now=now)
    document["state"], document["states"] = states[0], states
    document["state_words"] = STATES[states[0]]
    document["summary"] = summary(document, settings, now=now)
    return document


def states_of(
    document: Mapping[str, Any], settings: Settings, local: LocalFacts, *, now: datetime
) -> list[State]:
    """Return all states that a target is in, what matters most first."""
    conclusive = next(
        (
            report
            for report in local.reports
            if _is_run(report)
            and report["outcome"] in CONCLUSIVE
            and (report.get("error") or {}).get("code") != "interrupted"
        ),
        None,
    )
    outcome = None if conclusive is None else conclusive["outcome"]
    known = document["asked_at"] is not None
    promoted = document["promoted"]
    has_run = conclusive is not None or document["last_success_at"] is not None
    found: list[State] = []
    if document["running"]:
        found.append("running")
    if document["cloud_error"]:
        found.append("unreachable")
    if document["paused"]:
        found.append("paused")
    if outcome == "failed":
        found.append("failed")
    if outcome == "waiting":
        found.append("waiting")
    if known and promoted is None:
        found.append("missing" if has_run else "never_run")
    if _is_stale(document, settings, has_run=has_run, now=now):
        found.append("stale")
    if not known and not found:
        found.append("unreachable")
    return found or ["good"]


def _is_stale(
    document: Mapping[str, Any], settings: Settings, *, has_run: bool, now: datetime
) -> bool:
    """Say whether what is promoted, or the last success, is too long ago."""
    promoted = document["promoted"]
    if promoted and promoted["age_days"] >= settings.notify.too_old:
        return True
    success = read_time(document["last_success_at"])
    limit = timedelta(hours=settings.web.healthy_within)
    return bool(has_run and not document["paused"] and (success is None or now - success > limit))


def health(
    targets: Sequence[Mapping[str, Any]], settings: Settings, *, now: datetime, since: datetime
) -> dict[str, Any]:
    """Say whether every target had a successful run in time; a paused one is excused."""
    hours, reasons = settings.web.healthy_within, []
    for document in targets:
        success = read_time(document["last_success_at"])
        # Whoever just began to look has not seen what was forgotten before.
        if document["paused"] or now - (success or since) <= timedelta(hours=hours):
            continue
        ago = f"since {_iso(success)}" if success else f"since this worker began at {_iso(since)}"
        reasons.append(
            f"{document['target']}: no successful run {ago}, which is more than {hours} hours"
            f" ago ({document['summary']})"
        )
    return {"healthy": not reasons, "reasons": reasons, "healthy_within_hours": hours}


def image_states(images: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count amphora images by what they are at present."""
    counts = Counter({"promoted": 0, "kept": 0, "set_aside": 0, "unfinished": 0, "unusable": 0})
    for image in images:
        if image["promoted"]:
            counts["promoted"] += 1
        elif image["status"] in {"queued", "saving", "uploading", "importing"}:
            counts["unfinished"] += 1
        elif not image["usable"]:
            counts["unusable"] += 1
        elif image["set_aside"]:
            counts["set_aside"] += 1
        else:
            counts["kept"] += 1
    return dict(counts)


def source_published(promoted: Mapping[str, Any] | None) -> datetime | None:
    """Return the day of an image's source: simplestreams versions begin with it."""
    digits = str((promoted or {}).get("source_version_name") or "")[:8]
    try:
        return datetime.strptime(f"{digits}+0000", "%Y%m%d%z")
    except ValueError:
        return None


def _aged(image: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """Count ages at `now`: what the cloud said may have been some time ago."""
    if image is None:
        return None
    created, published = read_time(image["created_at"]), source_published(image)
    return {
        **image,
        "age_days": _days(created, now),
        "source_published_at": _iso(published),
        "source_age_days": _days(published, now),
    }


def _next_run(cloud: CloudFacts, local: LocalFacts, now: datetime) -> dict[str, Any]:
    schedule, planned = local.schedule or {}, cloud.plan or {}
    keys = ("action", "reasons", "notes", "source", "promote", "demote", "retire", "held_back_by")
    document = {
        "at": _iso(read_time(schedule.get("next_run"))),
        "trigger": schedule.get("trigger"),
        **{key: planned.get(key) for key in keys},
        "error": planned.get("error"),
    }
    return {**document, "sentence": next_sentence(document, now=now)}


def _last_success(local: LocalFacts) -> str | None:
    """Return when a run last succeeded, from the record or else from the logs that are kept."""
    if local.chronicle.last_success_at:
        return _iso(read_time(local.chronicle.last_success_at))
    found = (each for each in local.reports if _is_run(each) and each["outcome"] in SUCCEEDED)
    report = next(found, None)
    begun = None if report is None else read_time(report["started_at"])
    return None if begun is None or report is None else _iso(begun + _length(report))


def _brief(report: Mapping[str, Any], local: LocalFacts) -> dict[str, Any]:
    begun = read_time(report["started_at"])
    return {
        **{key: report.get(key) for key in BRIEF},
        "action": report.get("action") or "run",
        "started_at": _iso(begun),
        "seconds": round(_length(report).total_seconds(), 1),
        "steps": [{"name": step["name"], "seconds": step["seconds"]} for step in report["steps"]],
        "files": list(local.files.get(report["run_id"], ())),
    }


def _length(report: Mapping[str, Any]) -> timedelta:
    return timedelta(seconds=sum(step["seconds"] for step in report["steps"]))


def _in_force(pause: Mapping[str, Any] | None, now: datetime) -> Mapping[str, Any] | None:
    """Drop a pause that ended since the cloud was asked."""
    until = read_time((pause or {}).get("until"))
    return None if until is not None and until <= now else pause


def _is_run(report: Mapping[str, Any]) -> bool:
    return bool(report.get("action", "run") == "run")


def _days(then: datetime | None, now: datetime) -> float | None:
    return None if then is None else round((now - then).total_seconds() / 86400, 1)


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat(timespec="seconds")
