"""Times as records and properties carry them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

YEARS = range(1970, 9000)
"""What a time of ours may be from; nearer to the ends of datetime, adding a day may overflow."""


def read_time(text: Any) -> datetime | None:
    """Read a time of ISO 8601, UTC where it names no zone, as UTC; None for what is none."""
    try:
        read = datetime.fromisoformat(text)
        utc = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return utc if utc.year in YEARS else None
