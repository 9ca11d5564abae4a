"""When to try again what another attempt may change, how long after, and how slow is dead."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any, TypeVar

import structlog
from urllib3 import exceptions as pool_errors

from retrofit.deadline import deadline

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LONGEST_WISH = 300.0
"""Seconds of Retry-After that are honoured; who asks for more gets the next run."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another attempt may change (RFC 9110, RFC 6585, RFC 8470)."""
LOWEST_RATE = 1024
"""Bytes a second; what is slower for as long as a timeout lasts has stalled."""
BLOCK = 1 << 20
IN_ALL = 2
"""How many times a timeout an answer's head, or one block of it, may take: the timeout of a socket
begins anew with each byte."""


class InterruptedTransferError(Exception):
    """An attempt that failed in a way that the next one may not; `wait` is the server's wish."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Setback:
    """A failure that the next attempt may not meet; `wait` is the server's wish, in seconds."""

    wait: float | None = None


def repeated(
    request: Callable[[], T],
    judge: Callable[[Exception], Setback | None],
    *,
    what: str,
    retries: int,
) -> T:
    """Make a request that is safe to repeat, `retries` times more while `judge` finds setbacks.

    `what` names it in the log. Raises what the last attempt raised, with a note of how many there
    were; what `judge` finds to be no setback at once.
    """
    failures = 0
    while True:
        try:
            return request()
        except Exception as error:
            failures += 1
            setback = judge(error)
            wait = 0.0 if setback is None else pause(failures, setback.wait)
            if setback is None or failures > retries or wait > LONGEST_WISH:
                if failures > 1:
                    error.add_note(f"tried {times(failures)}")
                raise
            log.warning("trying again", request=what, reason=first_line(error), wait=wait)
            sleep(wait)


def first_line(error: BaseException) -> str:
    """Return what an error says first, or else what it is, and the notes that `repeated` left."""
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    return ", ".join((said, *getattr(error, "__notes__", ())))


def pause(failures: int, wish: float | None) -> float:
    """Return seconds: the server's wish, else a random time that grows, lest all come at once."""
    most = min(FIRST_PAUSE * 2.0 ** (failures - 1), LONGEST_PAUSE)
    own = most * (0.5 + secrets.randbelow(1000) / 2000)
    return round(max(own, wish or 0.0), 2)


def times(attempts: int) -> str:
    """Say how often something was tried."""
    return "once" if attempts == 1 else f"{attempts} times"


def retry_after(said: str | None) -> float | None:
    """Return seconds: the header holds a number of them, or a date (RFC 9110, 10.2.3)."""
    if said is None:
        return None
    seconds = said.strip()
    if re.fullmatch(r"\d{1,9}", seconds):
        return float(seconds)
    try:
        until = parsedate_to_datetime(said)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (
        ValueError,
        ArithmeticError,
        TypeError,
        LookupError,
    ):  # no date
        return None


class Pace:
    """Notices a transfer that moves and gets nowhere. `timeout` is in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since, self._moved = time.monotonic(), 0

    def moved(self, amount: int) -> None:
        """Take note of so many bytes. Raises InterruptedTransferError for too few of them."""
        self._moved += amount
        now = time.monotonic()
        if now - self._since > self._timeout:
            if self._moved < LOWEST_RATE * (now - self._since):
                raise InterruptedTransferError(
                    f"{self._moved} bytes in {now - self._since:.0f} seconds"
                )
            self._since, self._moved = now, 0


def arriving(raw: Any, timeout: float, *, decode: bool = False) -> Iterator[bytes]:
    """Yield the body of an answer (urllib3's) as it arrives.

    One read may last as long as bytes trickle: read1 returns after the first of them. Yet before
    it there may be the size of a chunk, to which anything can be added: hence the deadline.
    Raises InterruptedTransferError when too little arrives, or the connection breaks.
    """
    pace = Pace(timeout)
    try:
        while True:
            with deadline(IN_ALL * timeout):
                block = raw.read1(BLOCK, decode_content=decode)
            if not block:
                return
            yield block
            pace.moved(len(block))
    except (pool_errors.ReadTimeoutError, TimeoutError) as error:
        raise InterruptedTransferError(f"no data for {timeout:g} seconds") from error
    except (pool_errors.HTTPError, OSError) as error:
        raise InterruptedTransferError(f"the connection broke: {root_cause(error)}") from error


def root_cause(error: BaseException) -> str:
    """Find what happened beneath the libraries' layers of wrapping."""
    inner: BaseException | None = error
    said = ""
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, OSError) and inner.strerror:
            said = inner.strerror
        reason = getattr(inner, "reason", None)
        if not isinstance(reason, BaseException):
            reason = next((arg for arg in inner.args if isinstance(arg, BaseException)), None)
        inner = reason or inner.__cause__ or inner.__context__
    return said or str(error).splitlines()[0][:200] or type(error).__name__
