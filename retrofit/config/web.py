"""Settings of `[web]`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from retrofit.config.numbers import CENTURY_HOURS, Flag, Period, Within
from retrofit.config.section import Section, Word


def _an_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address, such as 127.0.0.1, ::1 or 0.0.0.0") from None


class WebSettings(Section):
    """The worker's status page, JSON, health and metrics over HTTP, read-only."""

    enabled: Flag = Field(False, description="Serve the status page, JSON, health and metrics.")
    address: Annotated[Word, AfterValidator(_an_address)] = Field(
        "127.0.0.1",
        description="IP address to listen on. There is no login: everyone who can reach it can"
        " read it.",
    )
    port: Annotated[int, Within(0, 65535)] = Field(
        9817, description="TCP port; 0 uses any free one."
    )
    hosts: tuple[Word, ...] = Field(
        (),
        description="Host names under which the page may be requested, such as the one that a"
        " proxy passes on. Unset: a loopback address answers to its own names only,"
        " any other address to every name.",
    )
    refresh: Annotated[int, Within(5, 3600)] = Field(
        60,
        description="Seconds between two queries of the cloud. Requests cause none.",
    )
    healthy_within: Annotated[Period, Within(1, CENTURY_HOURS, never=True)] = Field(
        26,
        description="Hours without a successful run of a target after which `/healthz` answers"
        " 503 and the target is reported as stale; paused targets are excepted. Without any image"
        " for Octavia it answers 503 at once.",
    )
    logs: Flag = Field(True, description="Serve the log files of runs too.")
