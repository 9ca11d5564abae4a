"""The status page, JSON, health and metrics of the worker over HTTP, all read-only."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retrofit.config import Settings


@contextmanager
def serving(
    settings: Callable[[], Settings], changed: queue.SimpleQueue[str] | None = None
) -> Iterator[str | None]:
    """Serve for the length of the block, where that is configured; yields the address or None.

    `settings` returns the settings in force; `changed` has the names of targets to ask about at
    once. An address that cannot be used is only logged: runs
    matter more than the page.
    """
    if not settings().web.enabled:
        yield None
        return
    # Only where it is used: the worker alone needs no OpenStack library, its runs do.
    from scheduler.web.server import snapshot_served  # noqa: PLC0415

    with snapshot_served(settings, changed) as address:
        yield address
