"""Settings of `[source]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrofit.config.section import Architecture, Section, Series, Word


class SourceSettings(Section):
    """Which stock image a build starts from."""

    origin: Literal["glance", "simplestreams"] = Field(
        "glance",
        description="Take the source from Glance, where the synchroniser put it, or from the"
        " mirror itself.",
    )
    trust: Literal["auto", "owner", "digest", "signed"] = Field(
        "auto",
        description="What must vouch for the bytes: the image's owner, the digests that came with"
        " it, or the mirror's signed index; `auto` takes the strongest that is configured.",
    )
    max_age: int = Field(
        90, ge=1, description="Days after which the newest source is said to be too old."
    )
    publish_stock: bool = Field(
        False, description="Put a source from the mirror into Glance as well."
    )
    series: tuple[Series, ...] = Field(
        ("noble", "jammy"),
        min_length=1,
        description="Ubuntu series that may be used, the preferred one first.",
    )
    architecture: Architecture = Field("x86_64", description="Architecture as Glance names it.")
    stream: Literal["released", "daily"] | None = Field(
        None, description="Only this stream; without it the newest version of any."
    )
    variants: tuple[Word, ...] = Field(
        ("server",), min_length=1, description="Product variants, the preferred one first."
    )
    owners: tuple[Word, ...] = Field(
        (),
        description="Ids of projects whose images are trusted besides our own.",
    )
    image: Word | None = Field(None, description="Id of one image to use instead of choosing.")
    allow_os_mismatch: bool = Field(
        False,
        description="Accept a source whose os-release is not what its product name says.",
    )
