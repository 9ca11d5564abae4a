"""Requests to a VIP, one after the other, and how long nobody answered."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

EVERY = 0.2
TIMEOUT = 2.0


def ask(vip: str) -> str:
    """What a new connection to the VIP gets: the body of a 200, a status, or an error's name."""
    connection = http.client.HTTPConnection(vip, 80, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    else:
        return body if response.status == 200 else f"status {response.status}"
    finally:
        connection.close()


@dataclass
class Watch:
    """What requests got, and the seconds between two answers."""

    requests: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    longest_gap: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.longest_gap:.1f} s without traffic, {sum(self.failures.values())} of"
            f" {self.requests} new connections failed {self.failures or ''}"
        )


@contextmanager
def watched(vip: str, expected: str) -> Iterator[Watch]:
    """Ask the VIP for the length of the block, and then once more until it answers."""
    watch, over = Watch(), threading.Event()
    answered = time.monotonic()

    def go_on() -> None:
        nonlocal answered
        while True:
            last = over.is_set()
            got = ask(vip)
            now = time.monotonic()
            watch.requests += 1
            if got == expected:
                watch.longest_gap = max(watch.longest_gap, now - answered)
                answered = now
                if last:
                    return
            else:
                watch.failures[got] = watch.failures.get(got, 0) + 1
                if now - answered > 600:
                    watch.longest_gap = now - answered
                    return
            time.sleep(EVERY)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
