"""The times in which load balancers may be moved; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from retrofit.config.rollover import RolloverSettings, WindowSettings

SECOND = timedelta(seconds=1)


def is_open(settings: RolloverSettings, now: datetime, *, outage: bool = False) -> bool:
    """Return True if a load balancer may be moved now; `outage`: one that does not answer then."""
    windows = settings.windows
    if outage:
        if settings.outages == "never":
            return False
        if settings.outages == "window":
            return any(_is_within(each, now) for each in windows if each.outages)
    return not windows or any(_is_within(each, now) for each in windows)


def next_opening(
    settings: RolloverSettings, now: datetime, *, outage: bool = False
) -> datetime | None:
    """Return when one may be moved again; now where it may, None where it never may."""
    if is_open(settings, now, outage=outage):
        return now
    if outage and settings.outages == "never":
        return None
    windows: Iterable[WindowSettings] = settings.windows
    if outage and settings.outages == "window":
        windows = [each for each in windows if each.outages]
    starts = (start for each in windows if (start := _next_start(each, now)) is not None)
    return min(starts, default=None)


def _is_within(window: WindowSettings, now: datetime) -> bool:
    # A window that began exactly its length ago is over.
    start = _next_start(window, now - timedelta(minutes=window.minutes) + SECOND)
    return start is not None and start <= now


def _next_start(window: WindowSettings, after: datetime) -> datetime | None:
    """Return the first start at or after a time, in UTC."""
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  (only where it is used)

    trigger = CronTrigger.from_crontab(window.start, timezone=ZoneInfo(window.time_zone))
    start = trigger.get_next_fire_time(None, after.astimezone(UTC))
    while start is not None and start.fold:
        # The hour that comes twice when summer ends: a window has its length in that night too.
        start = trigger.get_next_fire_time(start, start)
    return None if start is None else start.astimezone(UTC)
