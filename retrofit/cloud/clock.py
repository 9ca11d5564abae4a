"""The time by a server's clock, from the Date of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from retrofit.times import YEARS

LARGEST_OFFSET = timedelta(minutes=10)
"""How far two clocks may be apart before that is reported."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The time by which ages of images are counted; `warning` is what is wrong with it."""

    now: datetime
    warning: str | None = None


def read_date(header: str | None) -> datetime | None:
    """Return the time of a Date header in UTC; None without one that can be read."""
    try:
        date = parsedate_to_datetime(header or "")
        utc = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return utc if utc.year in YEARS else None


def compared(there: datetime | None, here: datetime, *, server: str) -> Clock:
    """Return the time there, with a warning where the two clocks are apart.

    Without the time there, it is the time here, with a warning as well.
    """
    if there is None:
        return Clock(
            now=here,
            warning=f"the answers of {server} have no Date header: ages of images are counted by"
            " this machine's clock",
        )
    offset = here - there
    if abs(offset) <= LARGEST_OFFSET:
        return Clock(now=there)
    side = "ahead of" if offset > timedelta() else "behind"
    return Clock(
        now=there,
        warning=f"the clock of this machine is {_amount(abs(offset))} {side} that of {server}:"
        " ages of images are counted by the latter; set the clocks by NTP",
    )


def _amount(offset: timedelta) -> str:
    if offset.days:
        return f"{offset.days} day{'s' if offset.days > 1 else ''}"
    return f"{offset.seconds // 60} minutes"
