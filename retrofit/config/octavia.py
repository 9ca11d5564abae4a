"""Settings of `[octavia]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from retrofit.config.section import Section, Word


class OctaviaSettings(Section):
    """Whether and how Octavia is asked which images its amphorae run on."""

    ask: Literal["auto", "require", "never"] = Field(
        "auto",
        description="Ask Octavia which images amphorae run on: `auto` where the credentials may,"
        " `require` fails without, `never` leaves it to `publish.retire_unasked_after`.",
    )
    cloud: Word | None = Field(
        None,
        description="Cloud in clouds.yaml whose credentials may list amphorae; without it those of"
        " `[cloud]`.",
    )
    config_file: Path | None = Field(
        None,
        description="octavia.conf to compare our tag and owner with; without it"
        " /etc/octavia/octavia.conf where that can be read.",
    )
