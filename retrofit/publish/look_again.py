"""A second look at what a write should have changed: reads may lag some seconds behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOKS = 8
"""Looks before what is seen counts. Databases with replicas, and caches before Glance, show what
was written within a few seconds."""
PAUSE = 1.0
"""Seconds between two looks."""


def look_again(read: Callable[[], T], is_well: Callable[[T], bool]) -> T:
    """Return what `read` returns, once it is well, or has been looked at `LOOKS` times."""
    for _ in range(LOOKS - 1):
        seen = read()
        if is_well(seen):
            return seen
        time.sleep(PAUSE)
    return read()
