"""Go on telling what could not be delivered: what a run started to deliver ends after a while."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from retrofit import process
from retrofit.config import Settings
from retrofit.notify import DELIVERER, Outbox, delivery_job

log = structlog.get_logger(__name__)

EVERY = 60.0
"""Seconds between two looks into the outbox."""
TIME_LIMIT = 900.0
"""Seconds that one delivering process may take, whatever its receivers do."""


@contextmanager
def delivering(
    settings: Callable[[], Settings], *, every: float = EVERY, command: Sequence[str] = DELIVERER
) -> Iterator[None]:
    """Look into the outbox for the length of the block, and deliver what waits there.

    A process of its own delivers, as after a run: nothing of it can hold up the worker.
    """
    ended = threading.Event()
    going: list[process.Child] = []

    def watch() -> None:
        while not ended.wait(every):
            in_force = settings()
            try:
                if Outbox(in_force.paths.state).is_empty():
                    continue
                _deliver(in_force, command, going)
            except (OSError, process.CommandError) as error:
                log.warning("nothing delivered", error=str(error))

    thread = threading.Thread(target=watch, name="deliveries", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        for child in going.copy():
            process.stop(child, grace=1)
        thread.join(5)


def _deliver(settings: Settings, command: Sequence[str], going: list[process.Child]) -> None:
    job = json.dumps(delivery_job(settings)).encode()
    try:
        process.run_answering(command, timeout=TIME_LIMIT, stdin=job, on_start=going.append)
    finally:
        going.clear()
