"""Settings of `[schedule]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from retrofit.config.cron import Cron
from retrofit.config.numbers import DAY_SECONDS, YEAR_SECONDS, Flag, Within
from retrofit.config.section import Section

DEFAULT_INTERVAL = 3600


class ScheduleSettings(Section):
    """When the worker runs a target."""

    interval: Annotated[int, Within(60, YEAR_SECONDS)] | None = Field(
        None,
        description=f"Seconds between two runs. Unset: {DEFAULT_INTERVAL}, or as `cron` sets.",
    )
    cron: Cron | None = Field(
        None,
        description="Times of the runs in UTC, instead of an interval: minute, hour, day of"
        " month, month, day of week by name, such as `30 2 * * mon-fri`.",
    )
    jitter: Annotated[int, Within(0, YEAR_SECONDS)] = Field(
        0,
        description="Longest random delay of a run in seconds, so that machines do not all"
        " start at once.",
    )
    catch_up: Flag = Field(
        True, description="Run at the start of the worker if a run was missed while it was stopped."
    )
    time_limit: Annotated[int, Within(60, 31 * DAY_SECONDS)] = Field(
        6 * 3600, description="Seconds after which the worker stops a run."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> ScheduleSettings:
        if self.interval is not None and self.cron is not None:
            raise ValueError("set either interval or cron")
        return self

    @property
    def seconds(self) -> int | None:
        """Return the interval in seconds; None where `cron` is set."""
        return None if self.cron else self.interval or DEFAULT_INTERVAL
