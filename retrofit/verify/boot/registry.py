"""What a check of a running amphora is: its needs, its level, and the boot that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from retrofit.control_plane.agents import Feature
from retrofit.verify.boot.scenario import SINGLE, Scenario

if TYPE_CHECKING:
    from retrofit.verify.boot.trial import Trial


@dataclass(frozen=True, kw_only=True)
class BootCheck:
    """One named check.

    `needs` are checks that must have passed before: those of another level count only where they
    are run. An agent older than one of `features` cannot be asked.
    """

    name: str
    run: Callable[[Trial], str]
    needs: tuple[str, ...] = ()
    level: Literal["boot", "full"] = "full"
    scenario: Scenario = SINGLE
    features: tuple[Feature, ...] = ()


def of_level(checks: Iterable[BootCheck], level: str) -> tuple[BootCheck, ...]:
    """Return the checks that a level asks for."""
    if level == "offline":
        return ()
    return tuple(check for check in checks if level == "full" or check.level == "boot")


def with_needs(checks: Collection[BootCheck], names: Collection[str]) -> tuple[BootCheck, ...]:
    """Return the named checks and all that they need, in the order of `checks`."""
    by_name = {check.name: check for check in checks}
    wanted: set[str] = set()
    waiting = [name for name in names if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [need for need in by_name[name].needs if need in by_name]
    return tuple(check for check in checks if check.name in wanted)
