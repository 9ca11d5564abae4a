"""Requests to a cloud: within a time limit, repeated where that is safe and may help."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from retrofit.cloud.clock import read_date
from retrofit.cloud.errors import may_pass
from retrofit.config import CloudSettings, Target
from retrofit.system.deadline import deadline
from retrofit.system.retry import PASSING, Retryable, call_with_retries, retry_after

T = TypeVar("T")

LIMIT = 10
"""Limit of a whole request, in multiples of `cloud.timeout`: bytes may trickle in."""

LOOK_SECONDS = 15
"""Most seconds that a look waits for a cloud, which `cloud.timeout` lets a run wait for longer."""


@dataclass(frozen=True, kw_only=True)
class _Response:
    """The part of a response that decides about another attempt; `retry_after` is in seconds."""

    status: int | None = None
    retry_after: float | None = None


def impatient(target: Target, *, retries: int = 1) -> Target:
    """Return a target whose cloud is not waited for: what is asked has another answer, or time.

    A request waits LOOK_SECONDS at most for the next byte, and is repeated `retries` times at most.
    """
    changes = {
        "retries": min(retries, target.cloud.retries),
        "timeout": min(LOOK_SECONDS, target.cloud.timeout),
    }
    return target.model_copy(update={"cloud": target.cloud.model_copy(update=changes)})


def session_of(
    region: Any, settings: CloudSettings, *, until: float = math.inf
) -> tuple[Any, Requests]:
    """Return a session with a region, and what makes its requests within the limits of [cloud].

    `until` is as for `Requests`. No request is made by this.
    """
    session = region.get_session()
    session.timeout = settings.timeout
    return session, Requests(
        session, retries=settings.retries, timeout=settings.timeout, until=until
    )


class Requests:
    """The requests of one session: makes each within its limits, and knows its last response.

    `until` is a time of the monotonic clock: what `make` asks ends by then, and is not asked again.
    """

    def __init__(
        self, session: Any, *, retries: int, timeout: float, until: float = math.inf
    ) -> None:
        self._retries = retries
        self._limit = LIMIT * timeout
        self.timeout = timeout
        self._until = until
        self._last = _Response()
        self._dates: dict[str, tuple[datetime, float]] = {}
        # glanceclient's exceptions keep neither the rarer status codes nor any header.
        session.session.hooks["response"].append(self._note)

    def make(self, request: Callable[[], T], what: str, *, expect: int | None = None) -> T:
        """Make a request that may be repeated, and return its result.

        `expect` is the status of a success, where the client does not look. Raises what the
        clients raise, TimeoutError, and ValueError for another status.
        """

        def limited() -> T:
            return self.limited(request, expect=expect)

        return call_with_retries(
            limited, self._classify, retries=self._retries, until=self._until, request=what
        )

    def limited(self, request: Callable[[], T], *, expect: int | None = None) -> T:
        """Make a request once, without another attempt, that ends in time as those of `make` do."""
        with deadline(min(self._limit, self._until - time.monotonic())):
            return self.once(request, expect=expect)

    def transfer(self, request: Callable[[], T], what: str) -> T:
        """Make a request that may be repeated and takes as long as its bytes take."""
        return call_with_retries(
            lambda: self.once(request), self._classify, retries=self._retries, request=what
        )

    def once(self, request: Callable[[], T], *, expect: int | None = None) -> T:
        """Make a request once, without a limit of time; `expect` and errors as for `make`."""
        self._last = _Response()
        result = request()
        # A captive portal's 200 is a success to the clients, where they look at no body.
        if expect is not None and self._last.status not in {None, expect}:
            raise ValueError(f"status {self._last.status} in place of {expect}")
        return result

    def time_at(self, url: str) -> datetime | None:
        """Return the time by the clock of the server at `url`; None where it names none.

        That is the Date of its last answer (RFC 9110), and what has passed since.
        """
        known = self._dates.get(urlsplit(url).netloc)
        if known is None:
            return None
        date, at = known
        return date + timedelta(seconds=time.monotonic() - at)

    def may_pass(self, error: Exception) -> bool:
        """Return True if the last request, which failed with `error`, may succeed when repeated."""
        return may_pass(error, self._last.status)

    def _classify(self, error: Exception) -> Retryable | None:
        return Retryable(wait=self._last.retry_after) if self.may_pass(error) else None

    def _note(self, response: Any, *_args: Any, **_options: Any) -> None:
        status = response.status_code
        wait = retry_after(response.headers.get("Retry-After")) if status in PASSING else None
        self._last = _Response(status=status, retry_after=wait)
        date = read_date(response.headers.get("Date"))
        if date is not None:
            self._dates[urlsplit(response.url).netloc] = date, time.monotonic()
