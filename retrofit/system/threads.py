"""Threads that start, and answer, within bounded time; else it is a lack of memory.

A watchdog process cannot replace this: where one watches (timer and worker end a run after
`schedule.time_limit`, six hours by default) it would end the whole run, that much later and
without its cause; and nothing watches a command by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from retrofit.system.deadline import deadline

STARTING = 30.0
"""Seconds that a thread gets for its first steps, and for a short answer."""

T = TypeVar("T")


def start_in_time(start: Callable[[], T]) -> T:
    """Call `start`, such as `Thread.start`, and return what it returns.

    Raises MemoryError when the thread takes no step within `STARTING` seconds: Thread.start waits
    without end for one that had a stack but no memory for more (CPython 3.11, threading.py: only
    `_bootstrap_inner` sets what it waits for). Only the main thread can be called back from there.
    """
    if threading.current_thread() is not threading.main_thread():
        return start()
    try:
        with deadline(STARTING):
            return start()
    except TimeoutError as error:
        raise MemoryError("a thread does not start") from error


@contextmanager
def in_background(work: Callable[[threading.Event], None], *, name: str) -> Iterator[None]:
    """Have a thread do `work` for the length of the block, and wait for its end.

    `work` gets the event that is set at the end of the block. Raises MemoryError as `start_in_time`
    does.
    """
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), name=name, daemon=True)
    start_in_time(thread.start)
    try:
        yield
    finally:
        over.set()
        thread.join()


def result_in_time(answer: Future[T]) -> T:
    """Return the result of a short call in an executor's thread.

    Raises what the call raised, and MemoryError when there is no result within `STARTING` seconds:
    a worker thread without memory ends, and nothing notifies those who wait for it.
    """
    try:
        return answer.result(STARTING)
    except TimeoutError as error:
        if answer.done():
            raise
        raise MemoryError("a thread does not answer") from error
