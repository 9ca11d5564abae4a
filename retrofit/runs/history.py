"""What is remembered of a target's runs beyond their logs, which are pruned.

The record is local: it may be lost without harm. Counters then start anew, and what was told of
before may be told once more.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from retrofit import state
from retrofit.places import make_place

FILE = "chronicle.json"
SANE = 10**12
"""More runs than there ever will be, and more seconds than a step ever takes."""


def _new_epoch() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True, kw_only=True)
class Chronicle:
    """The past of one target on this machine; times are ISO 8601, `seconds` are by step.

    `epoch` and `told` name what was told: together they never name two different things.
    `image_created_at` is of the promoted image, as far as the last run saw it.
    """

    epoch: str = field(default_factory=_new_epoch)
    told: int = 0
    runs: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    last_run_at: str | None = None
    last_outcome: str | None = None
    last_success_at: str | None = None
    failing_since: str | None = None
    image_id: str | None = None
    image_created_at: str | None = None
    too_old: str | None = None
    """Id of the image that was said to be too old."""

    @classmethod
    def from_dict(cls, record: Mapping[str, Any] | None) -> Chronicle:
        """Take over what has our form, and nothing of a record in which anything has not."""
        if record is None:
            return cls()
        known = {each.name for each in fields(cls)}
        kept = {key: value for key, value in record.items() if key in known}
        texts = known - {"told", "runs", "seconds"}
        if (
            all(isinstance(kept[key], str | None) for key in texts & kept.keys())
            and isinstance(kept.get("epoch"), str)
            and isinstance(kept.get("told"), int)
            and _is_sane(kept["told"])
            and all(_numbers(kept.get(key, {})) for key in ("runs", "seconds"))
        ):
            return cls(**kept)
        return cls()


def _numbers(record: Any) -> bool:
    return isinstance(record, dict) and all(_is_sane(value) for value in record.values())


def _is_sane(value: Any) -> bool:
    """Say whether a count or a time can be one; json reads NaN, and numbers of any length."""
    return isinstance(value, int | float) and 0 <= value < SANE


def read_chronicle(state_dir: Path, target: str) -> Chronicle:
    """Read what is remembered of a target; a fresh record where there is none."""
    return Chronicle.from_dict(state.read(path_of(state_dir, target)))


def write_chronicle(state_dir: Path, target: str, chronicle: Chronicle) -> None:
    """Replace what is remembered of a target. Raises OSError."""
    state.write(path_of(state_dir, target), asdict(chronicle))


@contextmanager
def alone_with(state_dir: Path, target: str) -> Iterator[None]:
    """Be the only one that changes a target's chronicle for the block. Raises OSError."""
    path = path_of(state_dir, target)
    make_place(path.parent)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def path_of(state_dir: Path, target: str) -> Path:
    """Return where the chronicle of a target is kept."""
    return state.directory_of(state_dir, target) / FILE
