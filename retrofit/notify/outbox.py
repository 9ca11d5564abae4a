"""What is to be told and has not been delivered yet: files, which outlive every process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from retrofit import state
from retrofit.config import Settings
from retrofit.places import make_place
from retrofit.times import read_time


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A change of state on its way; `to` are those who do not have it yet."""

    path: Path
    target: str
    change: dict[str, Any]
    to: tuple[str, ...]
    attempts: int = 0
    next_try: datetime | None = None
    last_error: str | None = None

    @property
    def id(self) -> str:
        """Return what names the change of state at every attempt."""
        return str(self.change["id"])

    def as_dict(self) -> dict[str, Any]:
        """Return the letter as JSON types."""
        return {
            "change": self.change,
            "to": list(self.to),
            "attempts": self.attempts,
            "next_try": self.next_try.isoformat() if self.next_try else None,
            "last_error": self.last_error,
        }


class Outbox:
    """The letters of all targets of this machine."""

    def __init__(self, state_dir: Path) -> None:
        self._state = state_dir

    def put(self, target: str, change: dict[str, Any], *, to: list[str]) -> None:
        """Have a change of state delivered; again under the same id replaces it. Raises OSError."""
        epoch, _, number = str(change["id"]).rpartition("/")[2].rpartition("-")
        path = self._directory(target) / f"{int(number):08}-{epoch}.json"
        letter = Letter(path=path, target=target, change=change, to=tuple(to))
        state.write(path, letter.as_dict())

    def letters(self) -> list[list[Letter]]:
        """Return what waits, one list a target, each in the order of what happened."""
        return [
            [letter for path in sorted(directory.glob("[0-9]*.json")) if (letter := _read(path))]
            for directory in sorted(self._state.glob("targets/*/outbox"))
        ]

    def is_empty(self) -> bool:
        """Say whether nothing waits."""
        return next(self._state.glob("targets/*/outbox/[0-9]*.json"), None) is None

    def count(self) -> int:
        """Return how many letters wait."""
        return sum(1 for _ in self._state.glob("targets/*/outbox/[0-9]*.json"))

    def replace(self, letter: Letter, **changed: Any) -> Letter:
        """Record how an attempt went. Raises OSError."""
        after = replace(letter, **changed)
        state.write(after.path, after.as_dict())
        return after

    def remove(self, letter: Letter) -> None:
        """Drop a letter: it was delivered, or nobody wants it any more. Raises OSError."""
        state.remove(letter.path)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the only one that delivers, once who does so now has ended; True when that is so.

        False at once where another one waits already: it will find all that was put before, and
        of those who come while a receiver stalls, no more than one remains. Raises OSError.
        """
        make_place(self._state)
        with (self._state / "outbox.next").open("a") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            with (self._state / "outbox.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # Before anything is looked for: whoever finds our turn taken has put it already.
                fcntl.flock(turn, fcntl.LOCK_UN)
                yield True

    def _directory(self, target: str) -> Path:
        return state.directory_of(self._state, target) / "outbox"


def delivery_job(settings: Settings) -> dict[str, Any]:
    """Return all that a delivering process needs to know, as JSON types."""
    return {
        "state": str(settings.paths.state.absolute()),
        "notify": settings.notify.model_dump(mode="json"),
    }


def _read(path: Path) -> Letter | None:
    record = state.read(path)
    try:
        assert record is not None  # noqa: S101  (as good as a KeyError)
        change = dict(record["change"])
        return Letter(
            path=path,
            target=str(change["target"]),
            change={**change, "id": str(change["id"])},
            to=tuple(map(str, record["to"])),
            attempts=int(record["attempts"]),
            next_try=read_time(record["next_try"]),
            last_error=record["last_error"],
        )
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return None
