"""What is known of a target before the status document is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from retrofit.fleet.document import AuditDocument
from retrofit.runs.history import History
from retrofit.runs.report_document import ErrorDocument, ReportDocument
from retrofit.runs.rollover import RolloverDocument
from retrofit.runs.timetable import TimetableEntry
from retrofit.status.models import (
    FailingDocument,
    ImageDocument,
    PauseDocument,
    PlanDocument,
    RunningDocument,
)


@dataclass(frozen=True, kw_only=True)
class LocalFacts:
    """One target as this machine knows it; `reports` are of its past runs, newest first."""

    running: RunningDocument | None = None
    history: History = field(default_factory=History)
    reports: tuple[ReportDocument, ...] = ()
    schedule: TimetableEntry | None = None
    rollover: RolloverDocument | None = None
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the log files of each run in `reports`."""


@dataclass(frozen=True, kw_only=True)
class TargetInCloud:
    """One target as Glance shows it; `images` are its amphora images.

    `octavia_image` is the id of the image that Octavia selects. `failing` is of this machine.
    """

    cloud: str
    project_id: str
    promoted: ImageDocument | None
    octavia_image: str | None
    images: tuple[ImageDocument, ...]
    warnings: tuple[str, ...]
    paused: PauseDocument | None
    failing: FailingDocument | None


@dataclass(frozen=True, kw_only=True)
class CloudFacts:
    """Answers about one target; `asked_at` is when they were true.

    `plan` is what a run would do, `audit` what runs on what (None where that was not asked).
    `error` is why there is nothing newer, or nothing at all.
    """

    asked_at: datetime | None = None
    target: TargetInCloud | None = None
    plan: PlanDocument = field(default_factory=PlanDocument)
    audit: AuditDocument | None = None
    error: ErrorDocument | None = None
