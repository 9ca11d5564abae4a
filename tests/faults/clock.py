"""A clock that jumps: what Python calls now becomes another time, in the run's process alone.

The monotonic clock goes on as it did, and so do the kernel's times of files. libfaketime would do
the same for what a run starts too, but breaks absolute sleeps on the monotonic clock, which are
Python's `time.sleep`.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from tests.faults import driver
from tests.faults.invariants import Before
from tests.integration.harness import CloudHarness

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
JUMPS = {"an hour": HOUR, "a day": DAY, "ten years": 10 * YEAR}

Act = Callable[[CloudHarness, Before], driver.Ended]


def set_clock(seconds: int) -> None:
    """Set this process's clock on by so many seconds, or back."""
    real_time, real_ns = time.time, time.time_ns

    def now(kind: type[datetime], tz: tzinfo | None = None) -> datetime:
        return kind.fromtimestamp(real_time() + seconds, tz)

    def utcnow(kind: type[datetime]) -> datetime:
        return kind.utcfromtimestamp(real_time() + seconds)

    # datetime is written in C and takes no new attributes, but its dictionary does.
    (methods,) = gc.get_referents(datetime.__dict__)
    methods["now"], methods["utcnow"] = classmethod(now), classmethod(utcnow)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))
    for name, instead in (
        ("time", lambda: real_time() + seconds),
        ("time_ns", lambda: real_ns() + seconds * 10**9),
        ("gmtime", _at_first(time.gmtime, lambda: real_time() + seconds)),
        ("localtime", _at_first(time.localtime, lambda: real_time() + seconds)),
    ):
        _replace(getattr(time, name), instead)


def _at_first(convert: Callable[..., Any], now: Callable[[], float]) -> Callable[..., Any]:
    return lambda moment=None: convert(now() if moment is None else moment)


def _replace(function: object, instead: object) -> None:
    """Replace a function wherever a module has it, by whatever name."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for name in [each for each, value in list(names.items()) if value is function]:
            setattr(module, name, instead)


def jump(step: str, *, seconds: int) -> Act:
    """Return the fault of a clock that is set on or back right before a step."""
    put_in = driver.at_step(step, partial(set_clock, seconds), begun=True)
    return lambda harness, _was: driver.run(harness, "run-once", before=put_in)


FAULTS: dict[str, Callable[[str], Act]] = {
    f"clock set {how} by {name}": partial(jump, seconds=sign * seconds)
    for name, seconds in JUMPS.items()
    for how, sign in (("on", 1), ("back", -1))
}
"""By name: what makes the act of a cell, given the step."""
