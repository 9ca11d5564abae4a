"""Threads begin within bounded time, or are told as what is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from retrofit.deadline import deadline

STARTING = 30.0
"""Seconds that a thread gets for its first steps, and for a short answer."""

T = TypeVar("T")


def begun(start: Callable[[], T]) -> T:
    """Call what starts a thread, such as `Thread.start`, and return what it returns.

    Raises MemoryError where the thread takes no step within `STARTING` seconds: Thread.start waits
    without end for one that had a stack but no memory for more (CPython 3.11, threading.py: only
    `_bootstrap_inner` sets what it waits for). Only the main thread can be called back from there.
    """
    if threading.current_thread() is not threading.main_thread():
        return start()
    try:
        with deadline(STARTING):
            return start()
    except TimeoutError as error:
        raise MemoryError("a thread does not begin") from error


def answered(answer: Future[T]) -> T:
    """Return what an executor's thread answers to a question that takes no time.

    Raises what it raised, and MemoryError where there is no answer within `STARTING` seconds: a
    worker without memory ends, and nobody tells those who wait for it.
    """
    try:
        return answer.result(STARTING)
    except TimeoutError as error:
        if answer.done():
            raise
        raise MemoryError("a thread does not answer") from error
