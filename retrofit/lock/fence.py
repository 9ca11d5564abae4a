"""Whether this process may write to the cloud now: whoever holds a lock decides, right before.

What writes asks here, so that no write can forget to; what locks answers here, so that neither has
to know the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_checks: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("checks", default=())


@contextmanager
def writes_need(check: Callable[[], None]) -> Iterator[None]:
    """Have every write in the block preceded by `check`, which raises where it must not be."""
    before = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(before)


def require_write_permit() -> None:
    """Raise what any of the checks in force raises."""
    for check in _checks.get():
        check()
