"""Settings of `[schedule]`."""

from __future__ import annotations

from pydantic import Field

from retrofit.config.section import Section


class ScheduleSettings(Section):
    """When the worker runs a target."""

    interval: int = Field(3600, ge=60, description="Seconds between two runs of the worker.")
