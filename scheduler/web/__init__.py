"""The status page, JSON, health and metrics of the worker over HTTP: to read, never to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retrofit.config import Settings


@contextmanager
def serving(settings: Callable[[], Settings]) -> Iterator[str | None]:
    """Serve for the length of the block, where that is configured; yields the address or None.

    `settings` returns what is in force. An address that cannot be used is logged: the images
    matter more than the page.
    """
    if not settings().web.enabled:
        yield None
        return
    # Only where it is used: the worker alone needs no OpenStack library, its runs do.
    from scheduler.web.server import snapshot_served  # noqa: PLC0415

    with snapshot_served(settings) as address:
        yield address
