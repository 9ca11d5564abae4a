"""Settings of `[source]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from retrofit.config.numbers import CENTURY_DAYS, Flag, Period, Within
from retrofit.config.section import Architecture, Section, Series, Word


class SourceSettings(Section):
    """Which source image a build starts from."""

    origin: Literal["glance", "simplestreams"] = Field(
        "glance",
        description="Where source images come from: Glance, into which the synchroniser put"
        " them, or the simplestreams mirror itself.",
    )
    trust: Literal["auto", "owner", "digest", "signed"] = Field(
        "auto",
        description="Evidence that a source image needs: its owner in Glance, the digests in"
        " its properties, or the mirror's signed index. `auto` uses the strongest"
        " that is configured.",
    )
    max_age: Annotated[Period, Within(1, CENTURY_DAYS, never=True)] = Field(
        90,
        description="Age in days from which the newest source image is reported as too old.",
    )
    series: tuple[Series, ...] = Field(
        ("noble", "jammy"),
        min_length=1,
        description="Ubuntu series that may be used, in order of preference.",
    )
    architecture: Architecture = Field(
        "x86_64", description="Architecture of source and amphora images, by its name in Glance."
    )
    stream: Literal["released", "daily"] | None = Field(
        None, description="Simplestreams stream to use. Unset: the newest version of any stream."
    )
    variants: tuple[Word, ...] = Field(
        ("server",),
        min_length=1,
        description="Product variants that may be used, in order of preference.",
    )
    owners: tuple[Word, ...] = Field(
        (),
        description="IDs of projects whose source images are trusted, besides our own project.",
    )
    image: Word | None = Field(
        None, description="ID of the one image in Glance to build from, instead of choosing one."
    )
    allow_os_mismatch: Flag = Field(
        False,
        description="Accept a source image whose os-release file contradicts its product name.",
    )
