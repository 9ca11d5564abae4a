"""The end of a pause as people type it: an option's callback."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from retrofit.times import end_of_pause


def time_to_come(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> datetime | None:
    """Read a time to come as `end_of_pause` does: a callback of click."""
    if value is None:
        return None
    try:
        return end_of_pause(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None
