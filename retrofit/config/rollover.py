"""Settings of `[rollover]`."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from retrofit.config.cron import Cron
from retrofit.config.files import Command
from retrofit.config.numbers import Flag, Within
from retrofit.config.section import Section, WebAddress, Word


def _a_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"unknown time zone {name!r}; zones have names such as Europe/Berlin, and UTC"
        ) from None
    return name


def _a_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class WindowSettings(Section):
    """One of the times in which load balancers may be moved."""

    start: Cron = Field(
        description="Beginnings of the window: minute, hour, day of month, month, day of week by"
        " name, such as `0 1 * * mon-fri`."
    )
    minutes: Annotated[int, Within(1, 7 * 24 * 60)] = Field(
        240, description="Length of the window in minutes."
    )
    time_zone: Annotated[Word, AfterValidator(_a_time_zone)] = Field(
        "UTC", description="Time zone of `start`, such as `Europe/Berlin`."
    )
    outages: Flag = Field(
        True,
        description='Whether, with `rollover.outages = "window"`, load balancers may be moved in'
        " it that do not answer meanwhile.",
    )


class SelectionSettings(Section):
    """Load balancers, by what they have; one that has any of it is meant."""

    tags: tuple[Word, ...] = Field((), description="Tags of load balancers in Octavia.")
    projects: tuple[Word, ...] = Field((), description="Ids of projects.")
    flavors: tuple[Word, ...] = Field((), description="Names or ids of flavors of Octavia.")

    @property
    def is_empty(self) -> bool:
        """Return True if no load balancer is meant."""
        return not (self.tags or self.projects or self.flavors)


class GuardSettings(Section):
    """What is asked right before each failover, and has to be quiet."""

    command: Command = Field(
        (),
        description="Command that ends with 0 where nothing speaks against a failover now. Its"
        " last line on stderr is the reason to wait.",
    )
    prometheus: WebAddress | None = Field(
        None, description="Address of a Prometheus whose firing alerts are reasons to wait."
    )
    alerts: Annotated[Word, AfterValidator(_a_pattern)] = Field(
        ".*",
        description="Regular expression for the whole names of the alerts that must not fire.",
    )
    timeout: Annotated[int, Within(1, 600)] = Field(
        30, description="Seconds that the command or Prometheus may take."
    )


class RolloverSettings(Section):
    """How running load balancers are moved to the promoted image."""

    enabled: Flag = Field(
        False,
        description="Whether the worker, and the timer of `retrofit-scheduler install --rollover`,"
        " move load balancers. `retrofit rollover` does, whatever is set here.",
    )
    older_than: Annotated[int, Within(0, 3650)] = Field(
        30,
        description="Age in days of an image whose load balancers are moved though it lacks no"
        " known fix. With 0, every image but the promoted one is too old.",
    )
    at_a_time: Annotated[int, Within(1, 50)] = Field(
        1,
        description="Number of load balancers that fail over at the same time, at most.",
    )
    soak: Annotated[int, Within(0, 8760)] = Field(
        24,
        description="Hours from the promotion of an image to the first failover. A rollover that"
        " has begun goes on with newer images, without waiting anew.",
    )
    canaries: tuple[Word, ...] = Field(
        (), description="Load balancers to move before all others: their ids, or tags of theirs."
    )
    canary_soak: Annotated[int, Within(0, 8760)] = Field(
        24, description="Hours from the move of the last canary to the others."
    )
    pause: Annotated[int, Within(0, 86400)] = Field(
        60, description="Seconds from the end of a failover to the next one."
    )
    settle_timeout: Annotated[int, Within(10, 86400)] = Field(
        1800,
        description="Seconds that Octavia may take for a failover, from the request until the load"
        " balancer is ACTIVE and its new amphorae have sent statistics.",
    )
    most_failures: Annotated[int, Within(0, 100)] = Field(
        0,
        description="Number of failovers that may fail before the rollover halts; with 0, the"
        " first one halts it.",
    )
    outages: Literal["never", "window", "always"] = Field(
        "window",
        description="When a load balancer may be moved that does not answer meanwhile, as one with"
        " a single amphora: `never`; in those of `windows` that allow it; `always`, which is"
        " whenever any is moved.",
    )
    windows: tuple[WindowSettings, ...] = Field(
        (), description="Times in which load balancers may be moved. Without any: at all times."
    )
    only: SelectionSettings = Field(
        default_factory=SelectionSettings,
        description="Move these load balancers only. Unset: all.",
    )
    exclude: SelectionSettings = Field(
        default_factory=SelectionSettings, description="Leave these load balancers alone."
    )
    check_capacity: Flag = Field(
        True,
        description="Whether Nova and Neutron are asked before each failover for quota, free"
        " addresses and, with anti-affinity, hypervisors. Without room it waits. What the user of"
        " `octavia.cloud` may not ask for is no obstacle, and noted in the report.",
    )
    guard: GuardSettings = Field(
        default_factory=GuardSettings, description="What has to be quiet before each failover."
    )
