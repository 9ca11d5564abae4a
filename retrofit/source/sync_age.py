"""Whether sources still come: a stalled synchroniser, an old source, a series at its end; pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime

from retrofit.config import SourceSettings
from retrofit.model import Listing, Source, version_key

EOL_NOTICE = 90
"""Days before a series' end of support from which on it is said."""


def freshness(
    source: Source | None,
    newest: Source | None,
    listing: Listing | None,
    settings: SourceSettings,
    now: datetime,
) -> list[str]:
    """Name what is, or will be, amiss with the supply of sources.

    `source` is what would be used now; `newest` is what the mirror has, by the same rules.
    """
    said = [_stalled(source, newest, now)]
    if source is not None:
        said += [_too_old(source, settings, now), _near_its_end(source, listing, now)]
    return [each for each in said if each is not None]


def version_day(version: str) -> date | None:
    """Return the day that a version is named after; None for one that is named otherwise."""
    match = re.match(r"(20\d\d)(\d\d)(\d\d)(?!\d)", version)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _stalled(source: Source | None, newest: Source | None, now: datetime) -> str | None:
    """Compare what Glance has with what the mirror has."""
    if newest is None or (source is not None and source.image is None):
        return None
    has = f"the mirror has {_aged(newest, now)}"
    if source is None:
        return f"{has}, Glance has none: does the synchroniser run, and fetch this series?"
    if newest.os_version != source.os_version:
        return (
            f"{has} of {newest.product}, Glance only {_aged(source, now)} of {source.product}:"
            " does the synchroniser fetch this series?"
        )
    if version_key(newest.version) > version_key(source.version):
        return (
            f"{has} of {newest.product}, the newest in Glance is {_aged(source, now)}:"
            " is the synchroniser running?"
        )
    return None


def _too_old(source: Source, settings: SourceSettings, now: datetime) -> str | None:
    age = _age(source, now)
    if age is None or age <= settings.max_age:
        return None
    return (
        f"source {source.version} of {source.product} is {age} days old, more than"
        f" {settings.max_age} (source.max_age): is the supply of images broken?"
    )


def _near_its_end(source: Source, listing: Listing | None, now: datetime) -> str | None:
    end = _support_end(source, listing)
    if end is None:
        return None
    left = (end - _today(now)).days
    if left < 0:
        return f"{source.product} is out of support since {end}: move to a newer series"
    if left <= EOL_NOTICE:
        return f"{source.product} is supported until {end}, {left} more days: plan the next series"
    return None


def _support_end(source: Source, listing: Listing | None) -> date | None:
    """Return what the stream says, read anew or as it was when the image was synchronised."""
    for item in (source.item, *(listing.items if listing is not None else ())):
        if item is not None and item.product == source.product and item.support_eol:
            return item.support_eol
    if source.image is None:
        return None
    try:
        said = json.loads(source.image.property("simplestreams_metadata") or "{}")
        return date.fromisoformat(said["support_eol"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _aged(source: Source, now: datetime) -> str:
    age = _age(source, now)
    return source.version if age is None else f"{source.version} ({age} days old)"


def _age(source: Source, now: datetime) -> int | None:
    day = version_day(source.version)
    return None if day is None else (_today(now) - day).days


def _today(now: datetime) -> date:
    return now.astimezone(UTC).date()
