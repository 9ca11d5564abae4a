"""The end of a pause as people type it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def until(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Read a time to come as `end_of_pause` does: a callback of click."""
    if value is None:
        return None
    try:
        return end_of_pause(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def end_of_pause(text: str, now: datetime) -> datetime:
    """Read a time to come: `2026-12-24T18:00`, or how long from now: `90m`, `12h`, `3d`, `2w`.

    A time without zone is UTC. Raises ValueError for anything else, and for what is past.
    """
    try:
        end = _parsed(text.strip(), now)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a time nor a duration such as 12h") from None
    if end <= now:
        raise ValueError(f"{text!r} is past: it is {now:%Y-%m-%dT%H:%M} UTC")
    return end


def _parsed(text: str, now: datetime) -> datetime:
    duration = re.fullmatch(r"(\d+)([mhdw])", text)
    if duration is not None:
        return now + timedelta(**{UNITS[duration[2]]: int(duration[1])})
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
