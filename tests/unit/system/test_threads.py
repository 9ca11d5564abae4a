"""A thread that cannot begin is waited for only so long."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from retrofit.system import threads
from retrofit.system.threads import result_in_time, start_in_time


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STARTING", 0.2)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("thread", [threading.Thread(), threading.Timer(1, print)])
def test_a_thread_that_takes_no_step_is_a_lack_of_memory(
    thread: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What threading.Thread.start waits in, for a thread that is gone by then.
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda _self: None)
    with pytest.raises(MemoryError, match="does not start"):
        start_in_time(thread.start)


def test_a_thread_that_begins_is_as_always() -> None:
    told: list[bool] = []
    thread = threading.Thread(target=told.append, args=(True,))
    start_in_time(thread.start)
    thread.join()
    with ThreadPoolExecutor(1) as executor:
        assert result_in_time(start_in_time(lambda: executor.submit(pow, 2, 3))) == 8
        # No signal comes to another thread: Python's own way, there.
        assert executor.submit(start_in_time, lambda: 5).result() == 5
    assert told == [True]


def test_what_start_raises_is_raised() -> None:
    thread = threading.Thread()
    start_in_time(thread.start)
    with pytest.raises(RuntimeError, match="only be started once"):
        start_in_time(thread.start)


@pytest.mark.usefixtures("hasty")
def test_an_answer_that_never_comes_is_a_lack_of_memory() -> None:
    with pytest.raises(MemoryError, match="does not answer"):
        result_in_time(Future())


def test_an_answer_is_returned_or_raised() -> None:
    late: Future[int] = Future()
    late.set_exception(TimeoutError("of the question itself"))
    with pytest.raises(TimeoutError, match="of the question itself"):
        result_in_time(late)
