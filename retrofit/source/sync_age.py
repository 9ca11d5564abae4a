"""Warnings about the supply of sources: stalled synchroniser, old source, series at its end."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime

from retrofit.config import SourceSettings
from retrofit.config.numbers import NEVER
from retrofit.model import Listing, Source, version_key

EOL_NOTICE = 90
"""Days before a series' end of support from which on there is a warning."""


def sync_warnings(
    source: Source | None,
    newest: Source | None,
    listing: Listing | None,
    settings: SourceSettings,
    now: datetime,
) -> list[str]:
    """Return warnings about the supply of sources; empty when there is nothing to report.

    `source` is the source that would be used now, `newest` the mirror's, by the same rules. Pure.
    """
    warnings = [_stalled(source, newest, now)]
    if source is not None:
        warnings += [_too_old(source, settings, now), _near_its_end(source, listing, now)]
    return [each for each in warnings if each is not None]


def version_day(version: str) -> date | None:
    """Return the date at the beginning of a version's name; None where there is none."""
    match = re.match(r"(20\d\d)(\d\d)(\d\d)(?!\d)", version)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _stalled(source: Source | None, newest: Source | None, now: datetime) -> str | None:
    """Return a warning when the mirror has a newer source than Glance."""
    if newest is None or (source is not None and source.image is None):
        return None
    has = f"the mirror has {_aged(newest, now)}"
    if source is None:
        return f"{has}, Glance has none: check that the synchroniser runs and fetches this series"
    if newest.os_version != source.os_version:
        return (
            f"{has} of {newest.product}, Glance only {_aged(source, now)} of {source.product}:"
            " check that the synchroniser fetches this series"
        )
    if version_key(newest.version) > version_key(source.version):
        return (
            f"{has} of {newest.product}, the newest in Glance is {_aged(source, now)}:"
            " check that the synchroniser runs"
        )
    return None


def _too_old(source: Source, settings: SourceSettings, now: datetime) -> str | None:
    age = _age(source, now)
    if age is None or settings.max_age == NEVER or age <= settings.max_age:
        return None
    return (
        f"source {source.version} of {source.product} is {age} days old, more than"
        f" {settings.max_age} (source.max_age): check the supply of source images"
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
    """Return the end of support in the stream, read now or at the image's synchronisation."""
    for item in (source.item, *(listing.items if listing is not None else ())):
        if item is not None and item.product == source.product and item.support_eol:
            return item.support_eol
    if source.image is None:
        return None
    try:
        metadata = json.loads(source.image.property("simplestreams_metadata") or "{}")
        return date.fromisoformat(metadata["support_eol"])
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
