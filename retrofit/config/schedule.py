"""Settings of `[schedule]`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from retrofit.config.section import Section, Word

DEFAULT_INTERVAL = 3600
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
    CronTrigger.from_crontab(expression)  # raises ValueError for what is out of range
    return " ".join(fields)


class ScheduleSettings(Section):
    """When the worker runs a target."""

    interval: int | None = Field(
        None,
        ge=60,
        description=f"Seconds between two runs of the worker; {DEFAULT_INTERVAL} where no `cron`"
        " is set.",
    )
    cron: Annotated[Word, AfterValidator(_a_cron_expression)] | None = Field(
        None,
        description="Times of the runs instead of an interval, in UTC: minute, hour, day of month,"
        " month, day of week by name, such as `30 2 * * mon-fri`.",
    )
    jitter: int = Field(
        0,
        ge=0,
        description="Seconds by which a run is put off at most, by chance: not every machine asks"
        " at once.",
    )
    catch_up: bool = Field(
        True, description="Run when the worker starts, if a run was missed while it was not there."
    )
    time_limit: int = Field(
        6 * 3600, ge=60, description="Seconds after which the worker stops a run that hangs."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> ScheduleSettings:
        if self.interval is not None and self.cron is not None:
            raise ValueError("set either interval or cron")
        return self

    @property
    def seconds(self) -> int | None:
        """Return the interval in force; None where `cron` says when."""
        return None if self.cron else self.interval or DEFAULT_INTERVAL
