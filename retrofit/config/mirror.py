"""Settings of `[mirror]`."""

from __future__ import annotations

from pydantic import Field

from retrofit.config.section import Section, Word


class MirrorSettings(Section):
    """The simplestreams mirror that sources come from or are compared with."""

    url: Word | None = Field(
        None, description="Address of the simplestreams mirror: http, https or file."
    )
