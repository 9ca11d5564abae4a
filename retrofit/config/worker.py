"""Settings of `[worker]`."""

from __future__ import annotations

from pydantic import Field

from retrofit.config.section import Section


class WorkerSettings(Section):
    """How the scheduled worker goes about all its targets."""

    parallel: int = Field(
        1,
        ge=1,
        le=32,
        description="Runs that the worker has going on at a time; the others wait for their turn,"
        " first come, first served. A build takes two processors and some 10 GiB.",
    )
    stop_timeout: int = Field(
        120,
        ge=1,
        description="Seconds that a run gets to clean up when the worker is told to stop; then it"
        " is killed.",
    )
