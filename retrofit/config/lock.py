"""Settings of `[lock]`."""

from __future__ import annotations

from pydantic import Field

from retrofit.config.section import Section, Word


class LockSettings(Section):
    """What keeps two runs of one target apart."""

    url: Word | None = Field(
        None,
        description="tooz coordination URL; without it a file lock under `paths.state`.",
    )
