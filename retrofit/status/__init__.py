"""The status of all targets, as one document: page, JSON, metrics and `retrofit status` show it."""

from __future__ import annotations

from retrofit.status.document import status_document, target_status
from retrofit.status.facts import CloudFacts, LocalFacts, TargetInCloud
from retrofit.status.local import look, undelivered
from retrofit.status.models import STATES, StatusDocument, TargetStatus

__all__ = [
    "STATES",
    "CloudFacts",
    "LocalFacts",
    "StatusDocument",
    "TargetInCloud",
    "TargetStatus",
    "look",
    "status_document",
    "target_status",
    "undelivered",
]
