"""A queue for each receiver: what one does with a notification is nothing to the other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from retrofit.config import NotifySettings
from retrofit.notify import Notification, Outbox, delivery
from retrofit.notify.delivery import deliver, deliver_in_time
from retrofit.notify.receivers import RefusedError, UndeliveredError

BOTH = ("webhook", "command")
NOW = datetime.now(UTC)


class Receivers:
    """Receivers that behave as a test wants, and remember what they took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: dict[str, list[str]] = {name: [] for name in BOTH}
        self.tried: list[tuple[str, str]] = []
        self.behave: Callable[[str, Notification], None] = lambda _name, _notification: None
        monkeypatch.setattr(delivery, "send", self._send)

    def _send(
        self, name: str, notification: Notification, _settings: Any, *, timeout: float
    ) -> None:
        assert timeout > 0
        self.tried.append((name, notification.event))
        self.behave(name, notification)
        self.taken[name].append(notification.event)


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> Receivers:
    return Receivers(monkeypatch)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path)
    for number, event in enumerate(("published", "failed"), 1):
        made.enqueue("noble", notification(number, event), to=BOTH)
    return made


def notification(number: int, event: str) -> Notification:
    return Notification(id=f"h/noble/abcd1234-{number}", event=event, at=NOW, target="noble")


SETTINGS = NotifySettings(url="http://r.test/", command=("true",), retries=2)


def hourly(outbox: Outbox, hours: int) -> None:
    """Deliver once an hour."""
    clock = [NOW]

    def sleep(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    for _ in range(hours):
        with structlog.testing.capture_logs():
            deliver(outbox, SETTINGS, sleep=sleep, now=lambda: clock[0])
        clock[0] += timedelta(hours=1)


@pytest.mark.parametrize(("dead", "works"), [BOTH, BOTH[::-1]])
def test_a_dead_receiver_silences_no_other(
    outbox: Outbox, receivers: Receivers, dead: str, works: str
) -> None:
    def behave(name: str, _notification: Notification) -> None:
        if name == dead:
            raise UndeliveredError("Connection refused")

    receivers.behave = behave
    hourly(outbox, 40)
    assert receivers.taken == {dead: [], works: ["published", "failed"]}
    assert outbox.count() == 2
    (left,) = outbox.queues()
    assert {each.to for each in left.values()} == {(dead,)}
    receivers.behave = lambda *_: None
    hourly(outbox, 3)
    assert receivers.taken[dead] == ["published", "failed"]
    assert outbox.is_empty()


@pytest.mark.parametrize("refuses", BOTH)
def test_a_notification_that_is_refused_for_good_keeps_back_no_later_one(
    outbox: Outbox, receivers: Receivers, refuses: str
) -> None:
    def behave(name: str, notification: Notification) -> None:
        if name == refuses and notification.event == "published":
            raise RefusedError("the receiver answered 422")

    receivers.behave = behave
    hourly(outbox, 2)
    assert receivers.taken[refuses] == ["failed"]
    assert receivers.tried.count((refuses, "published")) == 1
    assert outbox.is_empty()


def test_later_changes_wait_for_earlier_ones_of_their_receiver_and_target(
    outbox: Outbox, receivers: Receivers
) -> None:
    def behave(name: str, notification: Notification) -> None:
        if name == "webhook" and len(receivers.tried) < 9 and notification.event == "published":
            raise UndeliveredError("the receiver answered 503")

    receivers.behave = behave
    hourly(outbox, 9)
    assert receivers.taken["webhook"] == ["published", "failed"]


def test_what_a_receiver_asks_to_wait_is_waited(outbox: Outbox, receivers: Receivers) -> None:
    def behave(name: str, _notification: Notification) -> None:
        if name == "webhook":
            raise UndeliveredError("the receiver answered 429", wait=600)

    receivers.behave = behave
    hourly(outbox, 1)
    (left,) = outbox.queues("webhook")
    first = next(iter(left.values()))
    assert first.attempts == 1
    assert first.next_try == NOW + timedelta(seconds=600)


def test_a_run_ends_in_time_whatever_a_receiver_does(outbox: Outbox, receivers: Receivers) -> None:
    freed = threading.Event()

    def behave(name: str, _notification: Notification) -> None:
        if name == "webhook":
            freed.wait(30)
            raise UndeliveredError("late")

    receivers.behave = behave
    begun = time.monotonic()
    deliver_in_time(outbox, SETTINGS.model_copy(update={"timeout": 1}))
    assert time.monotonic() - begun < 5
    assert receivers.taken["command"] == ["published", "failed"]
    assert len(outbox.queues()) == 1
    freed.set()


def test_what_0_1_0_queued_for_both_is_delivered_to_each(
    tmp_path: Path, receivers: Receivers
) -> None:
    change = {"id": "h/noble/abcd1234-1", "event": "failed", "at": "2026-11-26T00:00:00+00:00"}
    old = {"version": 1, "change": change, "to": list(BOTH), "attempts": 3, "next_try": None}
    path = tmp_path / "targets" / "noble" / "outbox" / "00000001-abcd1234.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old))
    outbox = Outbox(tmp_path)
    outbox.enqueue("noble", notification(2, "recovered"), to=("webhook",))
    outbox.split()
    outbox.split()
    assert {path.name for path in path.parent.iterdir()} == {
        "00000001-abcd1234.webhook.json",
        "00000001-abcd1234.command.json",
        "00000002-abcd1234.webhook.json",
    }
    assert outbox.count() == 2
    deliver(outbox, SETTINGS)
    assert receivers.taken == {"webhook": ["failed", "recovered"], "command": ["failed"]}
    assert outbox.is_empty()
