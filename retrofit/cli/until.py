"""The end of a pause as people type it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def until(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Read a time to come: `2026-12-24T18:00`, or how long from now: `90m`, `12h`, `3d`, `2w`.

    A callback of click; a time without zone is UTC.
    """
    if value is None:
        return None
    now = datetime.now(UTC)
    try:
        end = _parsed(value.strip(), now)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is neither a time nor a duration such as 12h", context, parameter
        ) from None
    if end <= now:
        raise click.BadParameter(
            f"{value!r} is past: it is {now:%Y-%m-%dT%H:%M} UTC", context, parameter
        )
    return end


def _parsed(text: str, now: datetime) -> datetime:
    duration = re.fullmatch(r"(\d+)([mhdw])", text)
    if duration is not None:
        return now + timedelta(**{UNITS[duration[2]]: int(duration[1])})
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
