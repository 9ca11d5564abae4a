"""What a run did and why, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from retrofit.errors import BusyError, RetrofitError
from retrofit.model import Source, Verdict
from retrofit.redaction import redacted_document
from retrofit.trust import Trust

log = structlog.get_logger(__name__)

Action = Literal["run", "promote", "rollback", "retire"]
RunOutcome = Literal[
    "published", "unchanged", "failed", "busy", "paused", "waiting", "promoted", "retired"
]


@dataclass(kw_only=True)
class RunReport:
    """The record of one run of one target, or of one thing done by hand, filled as it goes.

    `image_id` is the image that is promoted when the run ends, as far as it knows.
    """

    run_id: str
    target: str
    log_dir: Path
    action: Action = "run"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: RunOutcome = "failed"
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source: Source | None = None
    trust: Trust | None = None
    image_id: str | None = None
    image_created_at: datetime | None = None
    promoted: list[str] = field(default_factory=list)
    demoted: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)
    verdict: Verdict | None = None
    error: RetrofitError | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; one that fails is recorded too."""
        log.info("step begun", step=name)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.steps.append((name, round(time.monotonic() - begun, 1)))

    def fail(self, error: RetrofitError) -> None:
        """Record why the run ended early."""
        self.error = error
        self.outcome = "busy" if isinstance(error, BusyError) else "failed"

    @property
    def exit_code(self) -> int:
        """Return the exit code of a process that did just this run."""
        return 0 if self.error is None else self.error.exit_code

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types; the keys are a contract that only grows."""
        document: dict[str, Any] = {
            "run_id": self.run_id,
            "target": self.target,
            "action": self.action,
            "outcome": self.outcome,
            "reasons": self.reasons,
            "notes": self.notes,
            "source": None
            if self.source is None
            else {
                "id": self.source.id,
                "product": self.source.product,
                "version": self.source.version,
            },
            "trust": self.trust,
            "image_id": self.image_id,
            "image_created_at": None
            if self.image_created_at is None
            else self.image_created_at.isoformat(timespec="seconds"),
            "promoted": self.promoted,
            "demoted": self.demoted,
            "retired": self.retired,
            "swept": self.swept,
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "seconds": round(sum(seconds for _, seconds in self.steps), 1),
            "steps": [{"name": name, "seconds": seconds} for name, seconds in self.steps],
            "verification": None if self.verdict is None else verdict_as_dict(self.verdict),
            "error": None if self.error is None else error_as_dict(self.error),
            "log_dir": str(self.log_dir),
        }
        return {key: redacted_document(value) for key, value in document.items()}


def error_as_dict(error: RetrofitError) -> dict[str, Any]:
    """Return an error as the reports show it."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def verdict_as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as the reports show it."""
    return {
        "how": verdict.how,
        "passed": verdict.passed,
        "facts": dict(verdict.facts),
        "checks": [
            {
                "name": check.name,
                "outcome": str(check.outcome),
                "detail": check.detail,
                "seconds": round(check.seconds, 1),
            }
            for check in verdict.checks
        ],
    }


def worst_exit_code(reports: Sequence[RunReport]) -> int:
    """Return the exit code of several runs: that of the first that failed, a busy one last."""
    codes = [report.exit_code for report in reports if report.exit_code]
    return next((code for code in codes if code != BusyError.exit_code), max(codes, default=0))
