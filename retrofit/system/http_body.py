"""The body of an HTTP response as it arrives, and the rate below which it has stalled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from urllib3 import exceptions as pool_errors

from retrofit.system.deadline import deadline

LOWEST_RATE = 1024
"""Bytes a second; a transfer that is slower throughout a timeout has stalled."""
BLOCK = 1 << 20
DEADLINE_FACTOR = 2
"""How many timeouts the head of a response, or one block of it, may take in all: the timeout of a
socket starts again with each byte."""


class InterruptedTransferError(Exception):
    """An attempt that failed where the next may succeed; `wait`: seconds the server asked for."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class StallDetector:
    """Detects a transfer that is too slow to get anywhere. `timeout` is in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since, self._bytes = time.monotonic(), 0

    def count(self, amount: int) -> None:
        """Count bytes that arrived. Raises InterruptedTransferError when they are too few."""
        self._bytes += amount
        now = time.monotonic()
        if now - self._since > self._timeout:
            if self._bytes < LOWEST_RATE * (now - self._since):
                raise InterruptedTransferError(
                    f"{self._bytes} bytes in {now - self._since:.0f} seconds"
                )
            self._since, self._bytes = now, 0


def read_body(raw: Any, timeout: float, *, decode: bool = False) -> Iterator[bytes]:
    """Yield the body of a response of urllib3 as it arrives; `timeout` is in seconds.

    A plain read lasts as long as bytes trickle; read1 returns after the first of them. But before
    it may come the size of a chunk, which can be extended without end: hence the deadline.
    Raises InterruptedTransferError when too little arrives, or the connection breaks.
    """
    stall_detector = StallDetector(timeout)
    try:
        while True:
            with deadline(DEADLINE_FACTOR * timeout):
                block = raw.read1(BLOCK, decode_content=decode)
            if not block:
                return
            yield block
            stall_detector.count(len(block))
    except (pool_errors.ReadTimeoutError, TimeoutError) as error:
        raise InterruptedTransferError(f"no data for {timeout:g} seconds") from error
    except (pool_errors.HTTPError, OSError) as error:
        raise InterruptedTransferError(f"the connection broke: {root_cause(error)}") from error


def root_cause(error: BaseException) -> str:
    """Return the message of the innermost error that libraries wrapped."""
    inner: BaseException | None = error
    message = ""
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, OSError) and inner.strerror:
            message = inner.strerror
        reason = getattr(inner, "reason", None)
        if not isinstance(reason, BaseException):
            reason = next((arg for arg in inner.args if isinstance(arg, BaseException)), None)
        inner = reason or inner.__cause__ or inner.__context__
    return message or str(error).splitlines()[0][:200] or type(error).__name__
