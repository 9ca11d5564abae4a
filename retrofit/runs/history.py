"""What is kept of a target's runs beyond their logs, which are pruned.

The record is local: it may be lost without harm. Counters then start anew, and a notification that
was sent before may be sent once more.
"""

from __future__ import annotations

import fcntl
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from retrofit.documents import Count, Document, Seconds, Text, Time
from retrofit.runs import store
from retrofit.runs.report_document import OLD_OUTCOMES, OLD_STEPS
from retrofit.system.directories import make_directory

FILE = "history.json"
OLD_FILE = "chronicle.json"
"""The name in 0.1.0; removed when the record is first written under the new one."""
OLD_KEYS = {
    "epoch": "sequence_id",
    "told": "sequence_number",
    "runs": "run_counts",
    "seconds": "step_seconds",
    "too_old": "stale_image_id",
}
"""Keys in 0.1.0 -> those of today."""


BUILD_BUCKETS = ("60", "120", "300", "600", "1200", "1800", "2700", "3600", "7200", "+Inf")
"""Bounds of the durations of builds in seconds, as Prometheus writes them."""


class History(Document):
    """The past of one target on this machine.

    `sequence_id` and `sequence_number` make the id of the last notification: a lost record begins
    another sequence, so no two notifications ever share an id. `step_seconds` is how long each
    step took when a run last came to it. `image_created_at` is of the promoted image `image_id`,
    as far as the last run knew; `stale_image_id` is the image that was last reported as stale.
    `failures_in_row` counts the runs that failed since the last success. `build_durations` counts
    builds by the smallest of BUILD_BUCKETS that they kept to, `build_seconds` is their sum.
    `missing_fixes` are the source packages of the security fixes that the promoted image was last
    known to lack. `no_image_since` is when Octavia was first seen to find no image, as long as it
    finds none.
    """

    sequence_id: Text = Field(default_factory=lambda: secrets.token_hex(4))
    sequence_number: Count = 0
    run_counts: dict[str, Count] = Field(default_factory=dict)
    step_seconds: dict[str, Seconds] = Field(default_factory=dict)
    last_run_at: Time | None = None
    last_outcome: Text | None = None
    last_success_at: Time | None = None
    failing_since: Time | None = None
    failures_in_row: Count = 0
    build_seconds: Seconds = 0.0
    build_durations: dict[str, Count] = Field(default_factory=dict)
    image_id: Text | None = None
    image_created_at: Time | None = None
    stale_image_id: Text | None = None
    no_image_since: Time | None = None
    missing_fixes: tuple[Text, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> History:
        """Read a record; a new history for none, and for one with anything of another form."""
        try:
            return cls() if record is None else cls.model_validate(record)
        except ValidationError:
            return cls()

    @classmethod
    def from_0_1(cls, record: Mapping[str, Any] | None) -> History:
        """Read a record as 0.1.0 wrote it."""
        if record is None:
            return cls()
        history = cls.from_record({OLD_KEYS.get(key, key): each for key, each in record.items()})
        counts: Counter[str] = Counter()
        for outcome, count in history.run_counts.items():
            counts[OLD_OUTCOMES.get(outcome, outcome)] += count
        last = history.last_outcome
        return history.model_copy(
            update={
                "run_counts": dict(counts),
                "step_seconds": {
                    OLD_STEPS.get(step, step): seconds
                    for step, seconds in history.step_seconds.items()
                },
                "last_outcome": None if last is None else OLD_OUTCOMES.get(last, last),
            }
        )


def build_bucket(seconds: float) -> str:
    """Return the smallest bound that a build kept to."""
    return next(bound for bound in BUILD_BUCKETS if seconds <= float(bound))


def read_history(state_dir: Path, target: str) -> History:
    """Return the history of a target; a new one where there is none."""
    path = path_of(state_dir, target)
    if not path.exists():
        return History.from_0_1(store.read(path.with_name(OLD_FILE)))
    return History.from_record(store.read(path))


def write_history(state_dir: Path, target: str, history: History) -> None:
    """Replace the history of a target. Raises OSError."""
    path = path_of(state_dir, target)
    store.write(path, history.as_dict())
    store.remove(path.with_name(OLD_FILE))


@contextmanager
def history_locked(state_dir: Path, target: str) -> Iterator[None]:
    """Be the only one that changes a target's history for the block. Raises OSError."""
    path = path_of(state_dir, target)
    make_directory(path.parent)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def path_of(state_dir: Path, target: str) -> Path:
    """Return where the history of a target is kept."""
    return store.directory_of(state_dir, target) / FILE
