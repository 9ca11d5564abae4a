"""A cron expression in the configuration."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from retrofit.config.section import Word

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

LEAP_YEAR = 2028
FIELD = re.compile(r"[0-9a-z*,/-]+", re.IGNORECASE)


def _a_cron_expression(expression: str) -> str:
    fields = expression.split()
    if len(fields) != 5 or not all(FIELD.fullmatch(field) for field in fields):
        raise ValueError(
            "a cron expression has five fields: minute, hour, day of month, month, day of week"
        )
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  (only where it is used)

    # cron and APScheduler 3 count the days of the week from different days.
    if re.search(r"\d", fields[4].partition("/")[0]):
        raise ValueError("name the days of the week: mon, tue, wed, thu, fri, sat, sun")
    trigger = CronTrigger.from_crontab(expression)  # raises ValueError for what is out of range
    if not _has_such_days(trigger):
        raise ValueError("no month has such a day: the time never comes")
    return " ".join(fields)


def _has_such_days(trigger: CronTrigger) -> bool:
    """Return False for the 30th of February: APScheduler looks for it until the year 9999.

    A leap year has every day that any year has, and each of them is every day of the week in 28
    years.
    """
    for number in range(366):
        day = date(LEAP_YEAR, 1, 1) + timedelta(days=number)
        if all(
            field.get_next_value(day) == field.get_value(day)
            for field in trigger.fields
            if field.name in {"month", "day"}
        ):
            return True
    return False


Cron = Annotated[Word, AfterValidator(_a_cron_expression)]
"""Minute, hour, day of month, month, day of week by name."""
