"""Settings of `[cloud]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from retrofit.config.files import File
from retrofit.config.numbers import DAY_SECONDS, Within
from retrofit.config.section import Section, Word


class CloudSettings(Section):
    """The cloud, and how to reach it."""

    name: Word | None = Field(
        None,
        description="Cloud in clouds.yaml. Unset: OS_CLOUD or the other OS_* variables decide.",
    )
    clouds_yaml: File | None = Field(
        None, description="Path of the clouds.yaml to read, instead of those in the usual places."
    )
    region: Word | None = Field(
        None,
        description="Region whose Glance is used. Unset: the region of clouds.yaml or"
        " OS_REGION_NAME.",
    )
    interface: Literal["public", "internal", "admin"] | None = Field(
        None,
        description="Endpoint interface to use. Unset: the interface of clouds.yaml or"
        " OS_INTERFACE.",
    )
    retries: Annotated[int, Within(0, 20)] = Field(
        4,
        description="Number of retries of a request that failed for a passing reason: a broken"
        " connection, a stalled transfer, status 429 or 503.",
    )
    timeout: Annotated[int, Within(1, DAY_SECONDS)] = Field(
        120,
        description="Seconds to wait for the next bytes of an answer before a request fails.",
    )
