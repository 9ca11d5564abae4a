"""What 0.1.0 queued is split once, whoever else does it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrofit.notify import Notification, Outbox
from retrofit.notify.outbox import RECEIVERS, QueuedNotification
from retrofit.runs import store


def test_what_another_process_has_split_and_delivered_is_not_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = Outbox(tmp_path), Outbox(tmp_path)
    directory = store.directory_of(tmp_path, "noble") / "outbox"
    for number in (1, 2):
        notification = Notification(
            id=f"h/noble/ab-{number}", event="test", at=datetime.now(UTC), target="noble"
        )
        queued = QueuedNotification(notification=notification, to=RECEIVERS)
        ours.update(directory / f"{number:08}-ab.json", queued)
    alone = ours.alone

    @contextmanager
    def late(name: str) -> Iterator[bool]:
        other.split()
        for queue in other.queues("webhook"):
            for path in queue:
                other.remove(path)
        with alone(name) as our_turn:
            yield our_turn

    monkeypatch.setattr(ours, "alone", late)
    ours.split()
    left = [(queued.id, queued.to) for queue in ours.queues() for queued in queue.values()]
    assert left == [("h/noble/ab-1", ("command",)), ("h/noble/ab-2", ("command",))]
