"""Remember the builds that fail, so that they are not tried again every minute.

The record is local: it may be lost without harm, and then the next run just tries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import structlog

from retrofit.errors import RetrofitError
from retrofit.plan import FailedBuild
from retrofit.runs import store

log = structlog.get_logger(__name__)


def last_failure(state_dir: Path, target: str) -> FailedBuild | None:
    """Return how the last build of a target failed; None when it did not."""
    record = store.read(_path(state_dir, target))
    return None if record is None else FailedBuild.from_dict(record)


def remember_failure(
    state_dir: Path, target: str, error: RetrofitError, *, inputs: str, run_id: str
) -> None:
    """Record a failed build; it counts on when the same inputs failed before."""
    before = last_failure(state_dir, target)
    again = before is not None and before.inputs == inputs
    failure = FailedBuild(
        inputs=inputs,
        count=before.count + 1 if before is not None and again else 1,
        last_at=datetime.now(UTC),
        code=error.code,
        message=error.message,
        run_id=run_id,
    )
    try:
        store.write(_path(state_dir, target), failure.as_dict())
    except OSError as failed:  # the run has failed for a better reason already
        log.warning("failure not recorded", error=str(failed))


def forget_failures(state_dir: Path, target: str) -> None:
    """Drop the record: a build succeeded."""
    try:
        store.remove(_path(state_dir, target))
    except OSError as failed:
        log.warning("record of failures not removed", error=str(failed))


def _path(state_dir: Path, target: str) -> Path:
    return store.directory_of(state_dir, target) / "failed-build.json"
