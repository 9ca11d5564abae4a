"""Notifications: each change of a target's state once, however often runs see it again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from retrofit.config import NotifySettings, Settings
from retrofit.config.numbers import days
from retrofit.notify.changes import NoImage, after_look, after_run
from retrofit.notify.notification import Notification
from retrofit.notify.outbox import Outbox
from retrofit.runs.history import History, history_locked, read_history, write_history
from retrofit.runs.report_document import ReportDocument

log = structlog.get_logger(__name__)

__all__ = [
    "NoImage",
    "Notification",
    "Outbox",
    "record_end_of_run",
    "record_look",
]


def record_end_of_run(report: ReportDocument, settings: Settings) -> None:
    """Record in the history how a run ended, and notify of what changed.

    Receivers get `notify.timeout` seconds in all; the rest is delivered by the worker, the unit's
    ExecStopPost or the next run. Nothing that fails here changes how the run ended.
    """

    def change(before: History) -> tuple[History, list[Notification]]:
        return after_run(
            before,
            report,
            now=datetime.now(UTC),
            stale_after=days(settings.target(report.target).publish.stale_after),
            host=socket.gethostname(),
        )

    _record(report.target, settings, change)
    outbox = Outbox(settings.paths.state)
    try:
        if not outbox.is_empty():
            # Only here: it needs `requests`, which takes a command its time to import.
            from retrofit.notify import delivery  # noqa: PLC0415

            delivery.deliver_in_time(outbox, settings.notify)
    except (OSError, MemoryError, RuntimeError) as error:  # no thread could be started
        log.warning("notifications not delivered", error=str(error))


def record_look(
    target: str, settings: Settings, *, image_id: str | None, missing: NoImage | None
) -> None:
    """Record whether Octavia finds an image, and queue a notification where that changed.

    It waits for no receiver: the worker's own threads deliver.
    """

    def change(before: History) -> tuple[History, list[Notification]]:
        return after_look(
            before,
            target,
            image_id=image_id,
            missing=missing,
            now=datetime.now(UTC),
            host=socket.gethostname(),
        )

    if (read_history(settings.paths.state, target).no_image_since is None) == (missing is None):
        return  # as it was known: nothing is written, twice a minute
    _record(target, settings, change)


def _record(
    target: str,
    settings: Settings,
    change: Callable[[History], tuple[History, list[Notification]]],
) -> None:
    state_dir = settings.paths.state
    outbox = Outbox(state_dir)
    try:
        with history_locked(state_dir, target):
            after, notifications = change(read_history(state_dir, target))
            # Before the history: after a death in between they are queued again by the same ids.
            for notification in notifications:
                _enqueue(outbox, target, notification, settings.notify)
            write_history(state_dir, target, after)
    except OSError as error:
        log.warning("change not recorded, or not notified", error=str(error))


def _enqueue(
    outbox: Outbox, target: str, notification: Notification, settings: NotifySettings
) -> None:
    receivers = {"webhook": settings.url, "command": settings.command}
    to = tuple(name for name, receiver in receivers.items() if receiver)
    if to and notification.event in settings.events:
        outbox.enqueue(target, notification, to=to)
        log.info("notification queued", notification_event=notification.event, to=to)
