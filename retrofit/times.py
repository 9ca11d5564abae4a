"""Times in records and properties, and as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
YEARS = range(1970, 9000)
"""Years that are accepted; nearer to the ends of datetime, adding a day may overflow."""


def read_time(text: Any) -> datetime | None:
    """Return a time of ISO 8601 (UTC unless it has a zone) in UTC; None for anything else."""
    try:
        read = datetime.fromisoformat(text)
        utc = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return utc if utc.year in YEARS else None


def iso(when: datetime) -> str:
    """Return a time as records carry it: ISO 8601 in UTC, to the second."""
    return when.astimezone(UTC).isoformat(timespec="seconds")


def age_of(since: datetime, now: datetime) -> str:
    """Return an age for people, by the exact time: `12 min`, `7 h`, `3 d`."""
    minutes = int((now - since).total_seconds()) // 60
    if minutes < 0:
        return "from the future"
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def days_between(then: datetime, now: datetime) -> float:
    """Return days as documents carry them: to the second, since words and numbers follow."""
    return round((now - then).total_seconds() / 86400, 5)


def span(seconds: float) -> str:
    """Return a configured duration for people: `hour`, `90 minutes`, `2 days`, to follow "every".

    One unit is named without a number.
    """
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, rest = divmod(seconds, length)
        if number and not rest:
            return name if number == 1 else f"{number:.0f} {name}s"
    return f"{seconds:g} seconds"


def end_of_pause(text: str, now: datetime) -> datetime:
    """Return a future time: from `2026-12-24T18:00`, or `90m`, `12h`, `3d`, `2w` from now.

    A time without zone is UTC. Raises ValueError for anything else, and for a time in the past.
    """
    try:
        end = _parsed(text.strip(), now)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a time nor a duration such as 12h") from None
    if end <= now:
        raise ValueError(f"{text!r} is in the past: it is {now:%Y-%m-%dT%H:%M} UTC")
    return end


def _parsed(text: str, now: datetime) -> datetime:
    duration = re.fullmatch(r"(\d+)([mhdw])", text)
    if duration is not None:
        return now + timedelta(**{UNITS[duration[2]]: int(duration[1])})
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
