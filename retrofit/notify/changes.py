"""How a run's end changes the state of its target, and which notifications follow; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from retrofit import __version__
from retrofit.config.notify import Event
from retrofit.notify.notification import Notification
from retrofit.plan.freshness import phrase_of_fixes
from retrofit.runs.history import History, build_bucket
from retrofit.runs.report_document import INTERRUPTED, SUCCEEDED, ReportDocument
from retrofit.times import iso


@dataclass(frozen=True, kw_only=True)
class NoImage:
    """Octavia finds no image of a target: why, and whether a pause keeps all from repairing it."""

    why: str
    paused: bool = False


class Changes:
    """The history of a target as it goes on, and the notifications of what changed."""

    def __init__(self, before: History, target: str, *, now: datetime, host: str) -> None:
        self.history = before
        self.notifications: list[Notification] = []
        self._target = target
        self._now = now
        self._host = host

    def set(self, **changed: Any) -> None:
        """Record something in the history."""
        self.history = self.history.model_copy(update=changed)

    def notify(self, event: Event, summary: str, **further: Any) -> None:
        """Add a notification, numbered by the history."""
        self.set(sequence_number=self.history.sequence_number + 1)
        history = self.history
        self.notifications.append(
            Notification(
                id=f"{self._host}/{self._target}/{history.sequence_id}-{history.sequence_number}",
                event=event,
                at=self._now,
                target=self._target,
                host=self._host,
                summary=f"target {self._target}: {summary}",
                text=f"retrofit on {self._host}: target {self._target}: {summary}",
                **{
                    "image_id": history.image_id,
                    "image_created_at": history.image_created_at,
                    **further,
                },
                retrofit_version=__version__,
            )
        )

    def lost(self, missing: NoImage, **further: Any) -> None:
        """Notify that Octavia finds no image, unless that is known."""
        if self.history.no_image_since is None:
            self.set(no_image_since=self._now)
            self.notify("no_image", missing.why, **{**further, "image_id": None})

    def found(self, image_id: str, **further: Any) -> None:
        """Notify that Octavia finds an image again, unless it did."""
        since = self.history.no_image_since
        if since is not None:
            self.set(no_image_since=None)
            seconds = round((self._now - since).total_seconds())
            self.notify(
                "image_found",
                f"Octavia finds image {image_id}; it found none for {seconds} s, since"
                f" {iso(since)}",
                **{"image_id": image_id, "failing_since": since, **further},
            )


def after_look(
    before: History,
    target: str,
    *,
    image_id: str | None,
    missing: NoImage | None,
    now: datetime,
    host: str,
) -> tuple[History, list[Notification]]:
    """Return the history after the worker looked at what Octavia finds, and what changed."""
    changes = Changes(before, target, now=now, host=host)
    if missing is not None:
        changes.lost(missing)
    elif image_id is not None:
        changes.found(image_id)
    return changes.history, changes.notifications


def after_run(
    before: History,
    report: ReportDocument,
    *,
    now: datetime,
    stale_after: timedelta,
    host: str,
) -> tuple[History, list[Notification]]:
    """Return the history after a run, and a notification for each change of state.

    Of an operator's commands only a change of the promoted image is notified, the end of a rollover
    and its halt: the operator sees the rest.
    """
    after = _counted(before, report) if report.is_run else before
    changes = Changes(_with_image(after, report, now), report.target, now=now, host=host)
    of_run: dict[str, Any] = {
        "run_id": report.run_id,
        "action": report.action,
        "by": report.by,
        "error": report.error,
        "log_dir": report.log_dir,
    }
    if report.emergency is not None:
        missing = NoImage(
            why=f"Octavia finds no image: {report.emergency}", paused=report.outcome == "paused"
        )
        changes.lost(missing, **of_run)
    if report.promoted and report.image_id is not None:
        changes.found(report.image_id, **of_run)
    if report.is_failure:
        if before.failing_since is None:
            changes.set(failing_since=report.started_at)
            changes.notify(
                "failed", report.error.message if report.error else report.outcome, **of_run
            )
    elif report.is_success and before.failing_since is not None:
        since = before.failing_since
        changes.set(failing_since=None)
        changes.notify(
            "recovered",
            f"runs succeed again; they failed since {iso(since)}",
            **of_run,
            failing_since=since,
        )
    if report.promoted:
        why = report.order or "; ".join(report.reasons) or "by hand"
        changes.notify(
            "published", f"image {changes.history.image_id} is promoted ({why})", **of_run
        )
    if report.halted:
        changes.notify(
            "halted", report.error.message if report.error else "the rollover is halted", **of_run
        )
    elif report.outcome == "rolled_over":
        moved = sum(each.outcome == "moved" for each in report.load_balancers)
        changes.notify(
            "rolled_over",
            f"the rollover to image {changes.history.image_id} has ended, {moved} load balancers"
            " moved in its last part",
            **of_run,
        )
    fixes = report.missing_fixes if report.is_run else None
    if fixes is not None:
        new = set(fixes.sources) - set(changes.history.missing_fixes)
        changes.set(missing_fixes=tuple(dict.fromkeys(fixes.sources)))
        if new:
            lacks = phrase_of_fixes(fixes.sources, fixes.since, now=now)
            changes.notify(
                "fixes_missing",
                f"the promoted image {changes.history.image_id} lacks {lacks}",
                **of_run,
            )
    history = changes.history
    created = history.image_created_at
    if (
        created is not None
        and now - created >= stale_after
        and history.stale_image_id != history.image_id
    ):
        changes.set(stale_image_id=history.image_id)
        changes.notify(
            "stale",
            f"the promoted image {history.image_id} is {(now - created).days} days old, more than"
            f" {stale_after.days} (publish.stale_after)",
            **of_run,
        )
    return changes.history, changes.notifications


def _counted(before: History, report: ReportDocument) -> History:
    counts = _one_more(before.run_counts, report.outcome)
    if report.outcome == "locked":  # the other run counts itself
        return before.model_copy(update={"run_counts": counts})
    ended = report.started_at + report.duration
    return before.model_copy(
        update={
            "run_counts": counts,
            **_with_build(before, report),
            "failures_in_row": _failures(before, report),
            "step_seconds": {
                **before.step_seconds,
                **{step.name: step.seconds for step in report.steps},
            },
            "last_run_at": ended,
            "last_outcome": report.outcome,
            "last_success_at": ended if report.outcome in SUCCEEDED else before.last_success_at,
        }
    )


def _failures(before: History, report: ReportDocument) -> int:
    """Return how many runs failed in a row; one that was ended or did nothing counts as none."""
    if report.is_success:
        return 0
    return before.failures_in_row + (1 if report.is_failure else 0)


def _with_build(before: History, report: ReportDocument) -> dict[str, Any]:
    """Return the durations of builds with that of a run; none of one that was interrupted."""
    took = next((step.seconds for step in report.steps if step.name == "build"), None)
    if took is None or report.outcome == INTERRUPTED:
        return {}
    return {
        "build_seconds": before.build_seconds + took,
        "build_durations": _one_more(before.build_durations, build_bucket(took)),
    }


def _one_more(counts: Mapping[str, int], outcome: str) -> dict[str, int]:
    return {**counts, outcome: counts.get(outcome, 0) + 1}


def _with_image(before: History, report: ReportDocument, now: datetime) -> History:
    """Record which image the run found promoted, where it came so far."""
    if report.image_id is None:
        return before
    created = report.image_created_at
    if created is None and report.image_id == before.image_id:
        created = before.image_created_at
    if created is None and report.promoted and report.is_run:
        created = now
    return before.model_copy(update={"image_id": report.image_id, "image_created_at": created})
