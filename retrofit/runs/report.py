"""What a run did and why, for people and for programs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from retrofit import __version__
from retrofit.archive.changes import PackageChange
from retrofit.errors import HaltedError, InterruptedRunError, LockedError, RetrofitError
from retrofit.model import Source, Verdict
from retrofit.plan.authorship import Authorship
from retrofit.runs.report_document import (
    MOST_MOVES,
    Action,
    ErrorDocument,
    MissingFixesDocument,
    MoveDocument,
    MoveOutcome,
    PackageDocument,
    ReportDocument,
    RunOutcome,
    SourceDocument,
    StepDocument,
    VerificationDocument,
)
from retrofit.source.trust import Trust

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A load balancer whose failover a rollover asked for: `moved` or `failed`, in seconds."""

    id: str
    name: str
    outcome: MoveOutcome
    reason: str
    seconds: float


@dataclass(kw_only=True)
class RunReport:
    """The record of one run of one target, or of one thing done by hand, filled as it goes.

    `image_id` is the image that is promoted when the run ends, as far as it knows. `by` is who
    ordered it, and from where; `order` is the reason that a person gave. `emergency` is why Octavia
    found no image when it began. `halted` is whether a rollover halted here, `moves` what it moved.
    """

    run_id: str
    target: str
    log_dir: Path
    action: Action = "run"
    by: str = ""
    host: str = field(default_factory=socket.gethostname)
    order: str | None = None
    emergency: str | None = None
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
    cleaned_up: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    packages: list[PackageChange] = field(default_factory=list)
    missing_fixes: MissingFixesDocument | None = None
    steps: list[tuple[str, float]] = field(default_factory=list)
    verdict: Verdict | None = None
    moves: list[Move] = field(default_factory=list)
    halted: bool = False
    error: RetrofitError | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; one that fails is recorded too."""
        log.info("step started", step=name)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.steps.append((name, round(time.monotonic() - begun, 1)))

    def fail(self, error: RetrofitError) -> None:
        """Record why the run ended early."""
        self.error = error
        self.outcome = "failed"
        if isinstance(error, LockedError):
            self.outcome = "locked"
        elif isinstance(error, InterruptedRunError):
            self.outcome = "interrupted"
        elif isinstance(error, HaltedError):
            self.outcome = "halted"

    def authorship(self, at: datetime) -> Authorship:
        """Return who changes an image now, and why: what the image records."""
        why = self.order or "; ".join(self.reasons)
        return Authorship(at=at, by=self.by, run_id=self.run_id, action=self.action, why=why)

    @property
    def exit_code(self) -> int:
        """Return the exit code of a process that did just this run."""
        return 0 if self.error is None else self.error.exit_code

    def document(self) -> ReportDocument:
        """Return the report as everything but the run itself sees it."""
        return ReportDocument(
            run_id=self.run_id,
            target=self.target,
            action=self.action,
            by=self.by or None,
            host=self.host,
            version=__version__,
            order=self.order,
            emergency=self.emergency,
            outcome=self.outcome,
            reasons=tuple(self.reasons),
            notes=tuple(self.notes),
            source=None if self.source is None else SourceDocument.of(self.source),
            trust=self.trust,
            image_id=self.image_id,
            image_created_at=self.image_created_at,
            promoted=tuple(self.promoted),
            demoted=tuple(self.demoted),
            retired=tuple(self.retired),
            cleaned_up=tuple(self.cleaned_up),
            adopted=tuple(self.adopted),
            packages=tuple(PackageDocument.of(change) for change in self.packages),
            missing_fixes=self.missing_fixes,
            load_balancers=tuple(
                MoveDocument(
                    id=each.id,
                    name=each.name,
                    outcome=each.outcome,
                    reason=each.reason,
                    seconds=each.seconds,
                )
                for each in self.moves[-MOST_MOVES:]
            ),
            halted=self.halted,
            started_at=self.started_at,
            seconds=round(sum(seconds for _, seconds in self.steps), 1),
            steps=tuple(StepDocument(name=name, seconds=seconds) for name, seconds in self.steps),
            verification=None if self.verdict is None else VerificationDocument.of(self.verdict),
            error=None if self.error is None else ErrorDocument.of(self.error),
            log_dir=str(self.log_dir),
        )


def worst_exit_code(reports: Sequence[RunReport]) -> int:
    """Return the exit code of several runs: that of the first that failed, a locked one last."""
    codes = [report.exit_code for report in reports if report.exit_code]
    return next((code for code in codes if code != LockedError.exit_code), max(codes, default=0))
