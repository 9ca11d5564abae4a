"""Settings of `[cloud]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrofit.config.section import File, Section, Word


class CloudSettings(Section):
    """Which cloud, and how to reach it."""

    name: Word | None = Field(
        None, description="Cloud in clouds.yaml; without it OS_CLOUD or the OS_* variables decide."
    )
    clouds_yaml: File | None = Field(
        None, description="A clouds.yaml to read instead of those in the usual places."
    )
    region: Word | None = Field(None, description="Region whose Glance is used.")
    interface: Literal["public", "internal", "admin"] | None = Field(
        None, description="Endpoint interface to use."
    )
    retries: int = Field(
        4,
        ge=0,
        le=20,
        description="Retries of a request that another attempt may help: broken connections,"
        " stalls, answers such as 429 and 503.",
    )
    timeout: int = Field(120, ge=1, description="Seconds without an answer before a request fails.")
