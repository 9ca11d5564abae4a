"""Times as records and properties carry them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def read_time(text: Any) -> datetime | None:
    """Read a time of ISO 8601, taken for UTC where it names no zone; None for what is none."""
    try:
        read = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
