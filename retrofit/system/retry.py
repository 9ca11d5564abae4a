"""The one retry loop: which failures get another attempt, how many, and after how long."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import sleep
from typing import TypeVar

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 300.0
"""Seconds of Retry-After that are honoured; a longer one is left to the next run."""
MOST_ATTEMPTS = 100
"""Attempts at one request, however many of them made progress."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another attempt may change (RFC 9110, RFC 6585, RFC 8470)."""
# As large as no server means it: beyond its maximum, the parser returns that in silence.
_HEADERS = Retry(retry_after_max=10**9)


@dataclass(frozen=True, kw_only=True)
class Retryable:
    """A failure that the next attempt may not meet."""

    wait: float | None = None
    """Seconds that the server asked for."""
    progress: bool = False
    """The next attempt continues from this one: failures are counted from one again."""


def call_with_retries(
    request: Callable[[], T],
    classify: Callable[[Exception], Retryable | None],
    /,
    *,
    retries: int,
    until: float = math.inf,
    event: str = "trying again",
    **facts: str,
) -> T:
    """Return what `request`, which must be safe to repeat, returns.

    It is made `retries` times more in a row while `classify` finds its failure retryable, and never
    after `until`, a time of the monotonic clock. Each repetition is logged as `event` with `facts`.
    Raises what the last attempt raised, with a note of the number of attempts; a failure that is
    not retryable is raised at once.
    """
    failures = 0
    failure: Retryable | None = None

    def is_retryable(error: BaseException) -> bool:
        nonlocal failures, failure
        failure = classify(error) if isinstance(error, Exception) else None
        failures = 1 if failure is not None and failure.progress else failures + 1
        return failure is not None

    def wait(_state: RetryCallState) -> float:
        return backoff(failures, failure.wait if failure else None)

    def is_last(state: RetryCallState) -> bool:
        return (
            failures > retries
            or state.attempt_number >= MOST_ATTEMPTS
            or state.upcoming_sleep > LONGEST_RETRY_AFTER
            or time.monotonic() + state.upcoming_sleep > until
        )

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        reason = first_line(error) if error else ""
        log.warning(event, **facts, reason=reason, wait=state.upcoming_sleep)

    loop = Retrying(
        retry=retry_if_exception(is_retryable),
        wait=wait,
        stop=is_last,
        before_sleep=report,
        sleep=sleep,
        reraise=True,
    )
    try:
        return loop(request)
    except Exception as error:
        attempts = loop.statistics["attempt_number"]
        if attempts > 1:
            error.add_note(f"tried {times(attempts)}")
        raise


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type, and the notes of retries."""
    lines = str(error).strip().splitlines()
    message = lines[0] if lines else type(error).__name__
    return ", ".join((message, *getattr(error, "__notes__", ())))


def backoff(failures: int, requested: float | None) -> float:
    """Return seconds to wait after so many failures in a row.

    They are what the server requested, or a random time that grows with the failures: clients must
    not all return at once.
    """
    most = min(FIRST_BACKOFF * 2.0 ** (failures - 1), LONGEST_BACKOFF)
    own = most * (0.5 + secrets.randbelow(1000) / 2000)
    return round(max(own, requested or 0.0), 2)


def times(attempts: int) -> str:
    """Return a number of attempts in words."""
    return "once" if attempts == 1 else f"{attempts} times"


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None for anything else."""
    if header is None:
        return None
    try:
        return float(_HEADERS.parse_retry_after(header))
    except (InvalidHeader, ValueError, ArithmeticError, TypeError, LookupError):
        return None  # InvalidHeader for most that is none, and what email.utils lets through
