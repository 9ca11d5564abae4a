"""Notifications that have not been delivered yet: files, which outlive every process.

There is a file for each notification and receiver, and so a queue for each receiver: one that is
down, or refuses a notification, keeps nothing from the other.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from retrofit.documents import Count, ExactTime, Text, TolerantDocument
from retrofit.notify.notification import Notification
from retrofit.runs import store
from retrofit.system.directories import make_directory

Receiver = Literal["webhook", "command"]
RECEIVERS: tuple[Receiver, ...] = ("webhook", "command")


class QueuedNotification(TolerantDocument):
    """A notification and its delivery to one receiver; 0.1.0 wrote several into `to`."""

    notification: Notification
    to: tuple[Text, ...]
    attempts: Count = 0
    next_try: ExactTime | None = None
    last_error: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _understand_old_keys(cls, record: Any) -> Any:
        """Read what 0.1.0 wrote: `change` for `notification`."""
        if isinstance(record, Mapping) and "change" in record:
            return {"notification": record["change"], **record}
        return record

    @property
    def id(self) -> str:
        """Return the id of the notification."""
        return self.notification.id


Queue = dict[Path, QueuedNotification]
"""What one receiver is to get of one target, by the files, oldest first."""


class Outbox:
    """The queued notifications of all targets of this machine."""

    def __init__(self, state_dir: Path) -> None:
        self._state = state_dir

    def enqueue(self, target: str, notification: Notification, *, to: tuple[str, ...]) -> None:
        """Queue a notification for each receiver; one with the same id is replaced.

        Raises OSError.
        """
        sequence, _, number = notification.id.rpartition("/")[2].rpartition("-")
        directory = store.directory_of(self._state, target) / "outbox"
        for receiver in to:
            queued = QueuedNotification(notification=notification, to=(receiver,))
            self.update(directory / f"{int(number):08}-{sequence}.{receiver}.json", queued)

    def queues(self, receiver: str | None = None) -> list[Queue]:
        """Return the queues of all targets and receivers, or of one receiver."""
        found: dict[tuple[Path, str], Queue] = defaultdict(dict)
        for path in sorted(self._state.glob("targets/*/outbox/[0-9]*.json")):
            queued = _read(path)
            for name in queued.to if queued else ():
                if queued is not None and receiver in (None, name):
                    found[path.parent, name][path] = queued
        return list(found.values())

    def is_empty(self) -> bool:
        """Return True if no notification is queued."""
        return next(self._state.glob("targets/*/outbox/[0-9]*.json"), None) is None

    def count(self) -> int:
        """Return how many notifications are queued, whatever the number of their receivers."""
        return len(
            {
                (path.parent, path.name.partition(".")[0])
                for path in self._state.glob("targets/*/outbox/[0-9]*.json")
            }
        )

    def split(self) -> None:
        """Give each receiver a file of its own, of what 0.1.0 queued. Raises OSError.

        After a death in between the files are written again, with the same names.
        """
        if not self._of_several():
            return
        with self.alone("split") as our_turn:
            # Read again: meanwhile another process may have split them, and delivered some.
            for path, queued in self._of_several().items() if our_turn else ():
                for receiver in queued.to:
                    own = path.with_name(f"{path.stem}.{receiver}.json")
                    self.update(own, queued.model_copy(update={"to": (receiver,)}))
                self.remove(path)

    def _of_several(self) -> Queue:
        """Return what is not of one receiver."""
        return {
            path: queued
            for path in sorted(self._state.glob("targets/*/outbox/[0-9]*.json"))
            if (queued := _read(path)) and len(queued.to) != 1
        }

    @staticmethod
    def update(path: Path, queued: QueuedNotification) -> None:
        """Record how an attempt went. Raises OSError."""
        store.write(path, queued.as_dict())

    @staticmethod
    def remove(path: Path) -> None:
        """Remove a notification: it was delivered, refused, or given up. Raises OSError."""
        store.remove(path)

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Be the only process that delivers to a receiver; yields False where another one does.

        Nothing waits here: the next look finds what the other one leaves. Raises OSError.
        """
        locks = self._state / "locks"
        make_directory(locks)
        with (locks / f"outbox-{name}").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def _read(path: Path) -> QueuedNotification | None:
    record = store.read(path)
    try:
        return None if record is None else QueuedNotification.model_validate(record)
    except ValidationError:
        return None
