"""Deliver in the worker what runs left: its receivers did not answer in time, or refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from retrofit.config import Settings
from retrofit.notify import Outbox
from retrofit.notify.delivery import deliver_to
from retrofit.notify.outbox import RECEIVERS

log = structlog.get_logger(__name__)

EVERY = 10.0
"""Seconds between two looks into the outbox."""
END_SECONDS = 2.0
"""That deliveries get when the worker stops; they go on under the same ids when it starts again."""


@contextmanager
def delivering(settings: Callable[[], Settings], *, every: float = EVERY) -> Iterator[None]:
    """Look into the outbox for the length of the block, and deliver what is queued there.

    Each receiver has a thread of its own: none can hold up the worker, or the other one.
    """
    ended = threading.Event()

    def watch(receiver: str) -> None:
        while not ended.wait(every):
            in_force = settings()
            outbox = Outbox(in_force.paths.state)
            # Repetitions are those of the next looks: none may hold a thread that has to end.
            once = in_force.notify.model_copy(update={"retries": 0})
            try:
                if not outbox.is_empty():
                    outbox.split()
                    deliver_to(receiver, outbox, once)
            except Exception as error:  # nothing of a receiver may end its thread
                log.warning("notifications not delivered", to=receiver, error=str(error))

    threads = [
        threading.Thread(target=watch, args=(each,), name=f"notify {each}", daemon=True)
        for each in RECEIVERS
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(END_SECONDS)
