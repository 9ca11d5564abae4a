"""The fence before writes to the cloud: a lock is checked right before each of them.

Code that writes calls `require_write_permit`, and code that holds a lock adds its check with
`check_before_writes`, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_checks: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("checks", default=())


@contextmanager
def check_before_writes(check: Callable[[], None]) -> Iterator[None]:
    """Have `check` called before every write in the block; it raises when the write must not be."""
    before = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(before)


def require_write_permit() -> None:
    """Call all checks in force. Raises what they raise."""
    for check in _checks.get():
        check()
