"""A try of one thing that a run will need, and many of them side by side."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from retrofit.errors import BuildError, RetrofitError
from retrofit.system.deadline import deadline
from retrofit.system.threads import start_in_time

log = structlog.get_logger(__name__)

LIMIT = 120.0
"""Seconds that a try may take, unless it names another limit."""

LOOK_EVERY = 0.5
"""Seconds between two looks at whether all threads still live."""

Outcome = Literal["passed", "warned", "failed"]


class DoubtError(RetrofitError):
    """What was tried does not work as it should, and a run succeeds all the same."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """One thing to try: `attempt` returns what was found, in a few words.

    It raises the error that a run would end with, or DoubtError. `failure` is the kind of error
    where it does not end within `limit` seconds, `hint` the way out of that.
    """

    name: str
    attempt: Callable[[], str]
    limit: float = LIMIT
    failure: type[RetrofitError] = BuildError
    hint: str = "see why it hangs"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of a try; `error` is that of a failure."""

    name: str
    outcome: Outcome
    seconds: float
    detail: str
    hint: str | None = None
    error: RetrofitError | None = None


def run_tries(here: Sequence[Try], beside: Sequence[Try] = ()) -> list[Tried]:
    """Make all tries and return what came of each, in this order: `here`, then `beside`.

    Those of `here` are made one after the other in this thread, since they share a connection or
    hold what follows; each of `beside` has a thread of its own. A thread that does not end in time
    is left behind: what it started has limits too. Raises what is no RetrofitError: a bug, or what
    this machine runs short of.
    """
    begun = time.monotonic()
    answers: queue.SimpleQueue[tuple[str, Tried | Exception]] = queue.SimpleQueue()
    threads: dict[str, threading.Thread] = {}
    for each in beside:
        work = partial(contextvars.copy_context().run, _answer, each, answers)
        threads[each.name] = threading.Thread(target=work, name=f"try {each.name}", daemon=True)
        start_in_time(threads[each.name].start)
    done = {each.name: _limited(each) for each in here}
    left = {each.name: each for each in beside}
    while left:
        until = begun + max(each.limit for each in left.values())
        living = {name for name in left if threads[name].is_alive()}
        try:
            name, answer = answers.get(timeout=LOOK_EVERY)
        except queue.Empty:
            if left.keys() - living:
                # A thread without memory ends, and nothing notifies those who wait for it.
                raise MemoryError("a try ended without an answer") from None
            if time.monotonic() > until:
                break
            continue
        if isinstance(answer, Exception):
            raise answer
        done[name] = answer
        del left[name]
    done |= {name: _out_of_time(each) for name, each in left.items()}
    found = [done[each.name] for each in (*here, *beside)]
    for tried in found:
        log.debug("tried", name=tried.name, outcome=tried.outcome, seconds=tried.seconds)
    return found


def first_failure(found: Sequence[Tried]) -> RetrofitError | None:
    """Return the error of the first try that failed: a run ends with it."""
    return next((each.error for each in found if each.error is not None), None)


def _answer(each: Try, answers: queue.SimpleQueue[tuple[str, Tried | Exception]]) -> None:
    try:
        answers.put((each.name, _made(each)))
    except Exception as error:  # raised where all answers are awaited
        answers.put((each.name, error))


def _limited(each: Try) -> Tried:
    try:
        with deadline(each.limit):
            return _made(each)
    except TimeoutError:
        return _out_of_time(each)


def _made(each: Try) -> Tried:
    begun = time.monotonic()

    def tried(outcome: Outcome, detail: str, error: RetrofitError | None = None) -> Tried:
        return Tried(
            name=each.name,
            outcome=outcome,
            seconds=round(time.monotonic() - begun, 2),
            detail=detail,
            hint=None if error is None else error.hint,
            error=error if outcome == "failed" else None,
        )

    try:
        return tried("passed", each.attempt())
    except DoubtError as doubt:
        return tried("warned", doubt.message, doubt)
    except RetrofitError as error:
        return tried("failed", error.message, error)


def _out_of_time(each: Try) -> Tried:
    error = each.failure(f"{each.name}: no result within {each.limit:g} s", hint=each.hint)
    return Tried(
        name=each.name,
        outcome="failed",
        seconds=each.limit,
        detail=error.message,
        hint=error.hint,
        error=error,
    )
