"""Settings of `[worker]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from retrofit.config.numbers import DAY_SECONDS, Within
from retrofit.config.section import Section


class WorkerSettings(Section):
    """How the worker runs all its targets."""

    parallel: Annotated[int, Within(1, 32)] = Field(
        1,
        description="Number of runs at a time; others wait in the order in which they became"
        " due. A build uses two processors and about 10 GiB of disk.",
    )
    watch_interval: Annotated[int, Within(5, 3600)] = Field(
        30,
        description="Seconds between two looks at what Octavia finds. Where it finds no image, the"
        " worker promotes one at once, or else runs the target.",
    )
    stop_timeout: Annotated[int, Within(1, DAY_SECONDS)] = Field(
        120,
        description="Seconds that a run may use to clean up when the worker stops. After that"
        " it is killed.",
    )
