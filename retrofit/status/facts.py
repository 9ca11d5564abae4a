"""What is known of a target before it is put into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from retrofit.chronicle import Chronicle


@dataclass(frozen=True, kw_only=True)
class Going:
    """A run that is going on; `doing` is the step that it is in."""

    run_id: str | None
    since: datetime | None
    doing: str | None


@dataclass(frozen=True, kw_only=True)
class LocalFacts:
    """One target as this machine sees it; `reports` are of its past runs, newest first."""

    going: Going | None = None
    chronicle: Chronicle = field(default_factory=Chronicle)
    reports: tuple[Mapping[str, Any], ...] = ()
    schedule: Mapping[str, Any] | None = None
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the log files of each run in `reports`."""


@dataclass(frozen=True, kw_only=True)
class CloudFacts:
    """Answers about one target, as JSON types; `asked_at` is when they were true.

    `status` is that of `target_status`, `images` are its amphora images, `plan` is what a run would
    do, `audit` what runs on what (None where that was not asked). `error` says why there is
    nothing newer, or nothing at all.
    """

    asked_at: datetime | None = None
    status: Mapping[str, Any] | None = None
    images: tuple[Mapping[str, Any], ...] = ()
    plan: Mapping[str, Any] | None = None
    audit: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
