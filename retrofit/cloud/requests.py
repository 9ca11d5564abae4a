"""Requests to a cloud: within a time limit, and repeated where that is safe and may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from retrofit.cloud.errors import may_pass
from retrofit.deadline import deadline
from retrofit.patience import PASSING, Setback, repeated, retry_after

T = TypeVar("T")

LIMIT = 10
"""How many times `cloud.timeout` a request may take in all: bytes that trickle are no answer."""


class Requests:
    """Makes the requests of one session; what the session heard last decides what may pass."""

    def __init__(self, session: Any, *, retries: int, timeout: float) -> None:
        self._retries = retries
        self._limit = LIMIT * timeout
        self.timeout = timeout
        self._status: int | None = None
        self._wish: float | None = None
        # glanceclient's exceptions keep neither the rarer status codes nor any header.
        session.session.hooks["response"].append(self._hear)

    def make(self, request: Callable[[], T], what: str) -> T:
        """Make a request that may be made twice, and return what it returns.

        Raises what the clients raise, and TimeoutError.
        """

        def limited() -> T:
            with deadline(self._limit):
                return self.once(request)

        return repeated(limited, self._judge, what=what, retries=self._retries)

    def transfer(self, request: Callable[[], T], what: str) -> T:
        """Make a request that may be made twice and takes as long as its bytes take."""
        return repeated(lambda: self.once(request), self._judge, what=what, retries=self._retries)

    def once(self, request: Callable[[], T]) -> T:
        """Make a request once."""
        self._status = self._wish = None
        return request()

    def require_status(self, expected: int) -> None:
        """Raise ValueError unless the last answer had this status.

        A captive portal's 200 is a success to the clients, where they look at no body.
        """
        if self._status not in {None, expected}:
            raise ValueError(f"status {self._status} in place of {expected}")

    def may_pass(self, error: Exception) -> bool:
        """Say whether the request that just failed by `error` may go well another time."""
        return may_pass(error, self._status)

    def _judge(self, error: Exception) -> Setback | None:
        return Setback(wait=self._wish) if self.may_pass(error) else None

    def _hear(self, answer: Any, *_args: Any, **_options: Any) -> None:
        self._status = answer.status_code
        if answer.status_code in PASSING:
            self._wish = retry_after(answer.headers.get("Retry-After"))
