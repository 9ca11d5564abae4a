"""Audit targets: which images amphorae run on, and what to fail over; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retrofit.config import Settings, Target
from retrofit.errors import CloudError
from retrofit.fleet.audit import audit
from retrofit.fleet.document import AuditDocument
from retrofit.observe.fleet import observe_fleet


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found of one target, and the error where Octavia has to answer and does not."""

    document: AuditDocument
    error: CloudError | None


def audit_targets(targets: Iterable[Target], settings: Settings) -> list[Audit]:
    """Return the audit of each target. Raises CloudError where Glance does not answer."""
    audits = []
    for target in targets:
        observed, error = observe_fleet(target, settings, ask_archive=True)
        document = audit(target, observed, configured=settings.targets)
        audits.append(Audit(document=document, error=error))
    return audits
