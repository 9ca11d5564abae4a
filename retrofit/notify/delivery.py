"""Deliver what is queued to each receiver by itself; an attempt may fail, and loses nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from retrofit import __version__
from retrofit.config import NotifySettings
from retrofit.config.numbers import hours
from retrofit.notify.notification import Notification
from retrofit.notify.outbox import RECEIVERS, Outbox, Queue, QueuedNotification
from retrofit.notify.receivers import RefusedError, UndeliveredError, send
from retrofit.system.threads import start_in_time

log = structlog.get_logger(__name__)

FIRST_WAIT = 1.0
LONGEST_WAIT = 3600.0
"""Seconds between two attempts: they double from the first to the longest. Not by system/retry: the
outbox keeps them for the next process."""
LEAST = 0.5
"""Seconds that an attempt needs to be worth it."""


def deliver_in_time(outbox: Outbox, settings: NotifySettings) -> None:
    """Deliver what can be delivered in `notify.timeout` seconds, and leave the rest.

    The receivers are asked side by side: one that stalls takes no time from the other. What has
    not ended by then is abandoned, and its notification is delivered again under the same id.
    Raises OSError when the outbox cannot be used.
    """
    outbox.split()
    end = time.monotonic() + settings.timeout
    # A command that is stopped ends before we do.
    last = end - min(LEAST, settings.timeout / 4)
    threads = [
        threading.Thread(
            target=_logged, args=(name, outbox, settings, last), name=f"notify {name}", daemon=True
        )
        for name in RECEIVERS
        if outbox.queues(name)
    ]
    for thread in threads:
        start_in_time(thread.start)
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _logged(name: str, outbox: Outbox, settings: NotifySettings, end: float) -> None:
    try:
        deliver_to(name, outbox, settings, end=end)
    except Exception as error:  # a thread has nobody else to report it
        log.warning("notifications not delivered", to=name, error=str(error))


def deliver(
    outbox: Outbox,
    settings: NotifySettings,
    *,
    at_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Deliver to one receiver after the other what is due, with `retries` repetitions each.

    Raises OSError when the outbox cannot be used.
    """
    outbox.split()
    for name in RECEIVERS:
        deliver_to(name, outbox, settings, at_once=at_once, sleep=sleep, now=now)


def deliver_to(
    name: str,
    outbox: Outbox,
    settings: NotifySettings,
    *,
    end: float | None = None,
    at_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Deliver to one receiver, target by target in the order of the changes.

    A receiver that fails is tried again after waits that double, up to an hour: `retries` times by
    this call, and none of it after `end`, of time.monotonic. The rest stays for the next call, and
    so does everything where another process delivers to this receiver. `at_once` skips the wait
    before the first attempt. Raises OSError when the outbox cannot be used.
    """
    with outbox.alone(name) as our_turn:
        if not our_turn:
            log.info("delivery left to the process that has begun it", to=name)
            return
        if at_once:
            for queue in outbox.queues(name):
                for path, queued in queue.items():
                    outbox.update(path, queued.model_copy(update={"next_try": None}))
        for repetition in range(settings.retries + 1):
            due = [
                at
                for queue in outbox.queues(name)
                if (at := _deliver_queue(name, queue, outbox, settings, now, end)) is not None
            ]
            if not due or repetition == settings.retries:
                return
            wait = max(0.0, (min(due) - now()).total_seconds())
            longest = FIRST_WAIT * 2.0**repetition
            # A longer one is of attempts before this call: the next process makes the next.
            if wait > longest or (end is not None and time.monotonic() + wait + LEAST > end):
                return
            sleep(wait)


def _deliver_queue(
    name: str,
    queue: Queue,
    outbox: Outbox,
    settings: NotifySettings,
    now: Callable[[], datetime],
    end: float | None,
) -> datetime | None:
    """Deliver the queue of one target; return when the rest is due, None where nothing is left."""
    for path, queued in queue.items():
        if len(queued.to) > 1:
            return now()  # of 0.1.0: another process is about to split it
        if now() - queued.notification.at > hours(settings.give_up_after):
            log.error(
                "notification given up", notification=queued.id, to=name, error=queued.last_error
            )
            outbox.remove(path)
            continue
        # Further ahead than any wait is what a clock wrote that was set back since.
        if queued.next_try is not None and (
            timedelta() < queued.next_try - now() <= timedelta(seconds=LONGEST_WAIT)
        ):
            return queued.next_try
        left = settings.timeout if end is None else min(settings.timeout, end - time.monotonic())
        if left < min(LEAST, settings.timeout):
            return now()
        after = _attempt(name, queued, settings, now, timeout=left)
        if after is None:
            outbox.remove(path)
            continue
        outbox.update(path, after)
        return after.next_try  # a later change is not delivered before an earlier one
    return None


def _attempt(
    name: str,
    queued: QueuedNotification,
    settings: NotifySettings,
    now: Callable[[], datetime],
    *,
    timeout: float,
) -> QueuedNotification | None:
    """Deliver a notification; return it with the next attempt, None where there is none."""
    try:
        send(name, queued.notification, settings, timeout=timeout)
    except RefusedError as error:
        log.error(  # noqa: TRY400  (an operator's matter: no traceback)
            "notification refused by its receiver, and dropped",
            notification=queued.id,
            to=name,
            error=str(error),
        )
        return None
    except UndeliveredError as error:
        log.warning("delivery failed", notification=queued.id, to=name, error=str(error))
        backoff = FIRST_WAIT * 2 ** min(queued.attempts, 20)
        wait = min(max(backoff, error.wait or 0.0), LONGEST_WAIT)
        return queued.model_copy(
            update={
                "attempts": queued.attempts + 1,
                "last_error": str(error),
                "next_try": now() + timedelta(seconds=wait),
            }
        )
    log.info("notification delivered", notification=queued.id, to=name)
    return None


def send_test(settings: NotifySettings) -> dict[str, str | None]:
    """Send a test to every receiver; return the error of each by its name, None for success."""
    now = datetime.now(UTC)
    summary = "a test of [notify]: nothing has changed"
    notification = Notification(
        id=f"{socket.gethostname()}/test/{int(now.timestamp())}",
        event="test",
        at=now,
        host=socket.gethostname(),
        summary=summary,
        text=f"retrofit on {socket.gethostname()}: {summary}",
        retrofit_version=__version__,
    )
    configured = {"webhook": settings.url, "command": settings.command}
    tried: dict[str, str | None] = {}
    for name in RECEIVERS:
        if not configured[name]:
            continue
        try:
            send(name, notification, settings, timeout=settings.timeout)
        except UndeliveredError as error:
            tried[name] = str(error)
        else:
            tried[name] = None
    return tried
