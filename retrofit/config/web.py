"""Settings of `[web]`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from retrofit.config.section import Section, Word


def _an_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address, such as 127.0.0.1, ::1 or 0.0.0.0") from None


class WebSettings(Section):
    """The worker's status page, JSON, health and metrics over HTTP, to read only."""

    enabled: bool = Field(False, description="Serve the status page, JSON, health and metrics.")
    address: Annotated[Word, AfterValidator(_an_address)] = Field(
        "127.0.0.1",
        description="IP address to listen on. Whoever reaches it reads it: there is no login.",
    )
    port: int = Field(9817, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    hosts: tuple[Word, ...] = Field(
        (),
        description="Names by which the page may be asked for, such as the one that a proxy passes"
        " on; without them, loopback addresses answer to their own names only, others to any.",
    )
    refresh: int = Field(
        60,
        ge=5,
        le=3600,
        description="Seconds between two looks at the cloud; no request ever causes one.",
    )
    healthy_within: int = Field(
        26,
        ge=1,
        description="Hours without a successful run of a target, after which `/healthz` answers"
        " 503 and the target is called stale; a paused one is excused.",
    )
    logs: bool = Field(True, description="Serve the log files of runs too.")
