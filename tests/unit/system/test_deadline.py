"""A block ends at its deadline, whatever it waits in, and others know nothing of that."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import _GeneratorContextManager, suppress
from types import FrameType
from typing import Any

import pytest

from retrofit.system.deadline import deadline


@pytest.fixture
def trickle() -> Iterator[Callable[[], None]]:
    """Something to wait in that no limit of a socket ends."""
    here, there = socket.socketpair()
    here.settimeout(1)
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.05):
            there.send(b".")

    def listen() -> None:
        while here.recv(1):
            continue

    sender = threading.Thread(target=send)
    with here, there:
        sender.start()
        try:
            yield listen
        finally:
            stop.set()
            sender.join()


def in_a_thread(work: Callable[[], None]) -> BaseException | None:
    """Do something in another thread, and return what ended it."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return ended[0]


def directly(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except TimeoutError as error:
        return error
    return None


@pytest.mark.parametrize("somewhere", [directly, in_a_thread])
def test_ends_a_wait_that_no_limit_of_a_socket_ends(
    trickle: Callable[[], None], somewhere: Callable[..., BaseException | None]
) -> None:
    def work() -> None:
        with deadline(0.3):
            trickle()

    begun = time.monotonic()
    error = somewhere(work)
    assert isinstance(error, TimeoutError)
    assert str(error) == "no whole answer within 0.3 seconds"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("somewhere", [directly, in_a_thread])
def test_no_block_catches_its_end_and_goes_on(
    trickle: Callable[[], None], somewhere: Callable[..., BaseException | None]
) -> None:
    """As keystoneauth does, which tries another way to log in after each that failed."""

    def work() -> None:
        with deadline(0.3):
            for _ in range(2):
                with suppress(Exception):
                    trickle()

    begun = time.monotonic()
    assert "within 0.3 seconds" in str(somewhere(work))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("somewhere", [directly, in_a_thread])
@pytest.mark.parametrize(("outer", "inner"), [(0.3, 60), (60, 0.3)])
def test_of_two_deadlines_the_nearest_counts(
    trickle: Callable[[], None],
    somewhere: Callable[..., BaseException | None],
    outer: float,
    inner: float,
) -> None:
    def work() -> None:
        with deadline(outer), deadline(inner):
            trickle()

    begun = time.monotonic()
    assert "within 0.3 seconds" in str(somewhere(work))
    assert time.monotonic() - begun < 5


def test_a_block_within_leaves_the_deadline_around_it_as_it_was(
    trickle: Callable[[], None],
) -> None:
    def work() -> None:
        with deadline(0.6):
            with suppress(TimeoutError), deadline(0.1):
                trickle()
            trickle()

    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.6 seconds"):
        work()
    assert 0.5 < time.monotonic() - begun < 5


def test_a_block_in_time_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(60):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_deadline_that_passes_while_its_timer_starts_ends_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowTimer(threading.Timer):
        def start(self) -> None:
            super().start()
            for _ in range(100):
                time.sleep(0.001)

    def work() -> None:
        with deadline(0.01):
            for _ in range(6000):
                time.sleep(0.01)

    monkeypatch.setattr(threading, "Timer", SlowTimer)
    error = in_a_thread(work)
    assert isinstance(error, TimeoutError)
    assert str(error) == "no whole answer within 0.01 seconds"


def test_what_follows_a_block_is_not_interrupted_in_a_thread() -> None:
    def work() -> None:
        for _ in range(500):
            with suppress(TimeoutError), deadline(0.001):
                time.sleep(0.0009)
            sum(range(2000))

    assert in_a_thread(work) is None


def test_a_thread_that_is_being_started_is_not_ended_in_place_of_its_parent() -> None:
    """Each round starts a thread when the time of the block around it is over."""
    before = sys.getswitchinterval()
    rounds = 0

    def work() -> None:
        nonlocal rounds
        for _ in range(1000):
            # Longer than the limit: what ends a block at its very end, no block can hold.
            with suppress(TimeoutError), deadline(0.001), deadline(60):
                time.sleep(0.002)
            rounds += 1

    thread = threading.Thread(target=work, daemon=True)
    try:
        sys.setswitchinterval(1e-6)
        thread.start()
        thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert rounds == 1000


def test_a_start_that_is_not_quite_over_is_not_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`Thread.start` goes on for a moment after its thread runs; here the moment is long."""
    start, interrupted = threading.Thread.start, []

    def slowly(thread: threading.Thread) -> None:
        start(thread)
        if not isinstance(thread, threading.Timer):
            return
        over = time.monotonic() + 0.4
        try:
            while time.monotonic() < over:
                sum(range(100))
        except BaseException as error:
            interrupted.append(error)
            raise

    def inner() -> None:
        time.sleep(0.2)
        with deadline(60):
            time.sleep(5)

    def work() -> None:
        with pytest.raises(TimeoutError, match="outer"), deadline(0.8, missing="outer"):
            inner()

    monkeypatch.setattr(threading.Thread, "start", slowly)
    assert in_a_thread(work) is None
    assert interrupted == []


@pytest.mark.parametrize("part", ["__enter__", "__exit__"])
def test_time_that_is_over_between_a_block_and_its_limit_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Python has steps of its own there; here they are long."""
    step = getattr(_GeneratorContextManager, part)

    def slowly(block: _GeneratorContextManager[None], *ended: Any) -> Any:
        if block.gen.gi_code.co_name != "_by_timer":  # type: ignore[attr-defined]
            return step(block, *ended)
        entered = step(block) if part == "__enter__" else None
        over = time.monotonic() + 0.3
        while time.monotonic() < over:
            sum(range(100))
        return step(block, *ended) if part == "__exit__" else entered

    def work() -> None:
        with deadline(0.1, missing="inner"):
            pass

    monkeypatch.setattr(_GeneratorContextManager, part, slowly)
    error = in_a_thread(work)
    assert isinstance(error, TimeoutError)
    assert str(error) == "inner within 0.1 seconds"


def time_is_over_at(step: int) -> bool:
    """Have the alarm come at a step that begins or ends a block in a block: False for none.

    Steps are lines of ours, and the ends of Python's own functions around it.
    """
    steps, struck = 0, False
    python = {
        getattr(_GeneratorContextManager, part).__code__ for part in ("__enter__", "__exit__")
    }

    def strike(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        nonlocal steps, struck
        if frame.f_code.co_name != "_by_signal" and frame.f_code not in python:
            return None
        steps += event == ("return" if frame.f_code in python else "line")
        if steps == step and not struck:
            struck = True
            signal.raise_signal(signal.SIGALRM)
        return strike

    try:
        with deadline(60, missing="outer"):
            sys.settrace(strike)
            with deadline(30, missing="inner"):
                pass
            sys.settrace(None)
    except TimeoutError:
        assert struck
    finally:
        sys.settrace(None)
    return struck


def test_time_that_is_over_at_any_step_is_told_as_such_and_leaves_no_alarm() -> None:
    handler, step = signal.getsignal(signal.SIGALRM), 1
    while time_is_over_at(step):
        assert signal.getsignal(signal.SIGALRM) is handler, step
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0), step
        step += 1
    assert step > 10
