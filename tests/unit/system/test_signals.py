from __future__ import annotations

import io
import os
import signal
import threading
import time

import pytest
import structlog

from retrofit.system import signals
from retrofit.system.signals import (
    STOPPING,
    AbortedByThreadError,
    interruptible,
    interruptible_by_thread,
    uninterrupted,
)


@pytest.mark.parametrize("number", STOPPING)
def test_a_stopping_signal_becomes_keyboard_interrupt(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt, match=number.name), interruptible():
        os.kill(os.getpid(), number)


def test_a_second_signal_does_not_break_the_cleanup_of_the_first() -> None:
    cleaned = False

    def stop() -> None:
        nonlocal cleaned
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned = True

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible():
        stop()
    assert cleaned


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    with interruptible():
        assert [signal.getsignal(number) for number in STOPPING] != before
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_a_signal_that_comes_while_something_is_logged_stops_nobody_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Output(io.StringIO):
        def write(self, text: str) -> int:
            if threading.current_thread() is threading.main_thread():
                os.kill(os.getpid(), signal.SIGTERM)  # the logger holds its lock here
            return super().write(text)

    output = Output()
    logger = structlog.wrap_logger(structlog.PrintLogger(output))
    monkeypatch.setattr(signals, "log", logger)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible():
        logger.warning("in the middle of something")


def test_a_thread_can_end_what_the_main_thread_waits_in() -> None:
    def wait() -> None:
        with interruptible_by_thread() as interrupt:
            threading.Timer(0.1, interrupt).start()
            time.sleep(60)

    with pytest.raises(AbortedByThreadError):
        wait()


def test_a_thread_interrupts_nothing_after_the_block() -> None:
    with interruptible_by_thread() as interrupt:
        pass
    interrupt()


def test_a_stop_waits_for_the_cleanup_after_a_thread_gave_up() -> None:
    cleaned = False

    def work() -> None:
        nonlocal cleaned
        with interruptible(), interruptible_by_thread() as interrupt:
            try:
                interrupt()
                time.sleep(60)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
                cleaned = True

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
    assert cleaned


def test_a_stop_waits_for_the_cleanup_of_all_blocks_that_a_thread_may_end() -> None:
    cleaned: list[str] = []

    def work() -> None:
        with interruptible(), interruptible_by_thread() as interrupt:
            try:
                with interruptible_by_thread():
                    interrupt()
                    time.sleep(60)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                interrupt()  # it ends already
                time.sleep(0.1)
                cleaned.append("the outer block")

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
    assert cleaned == ["the outer block"]


def test_a_stop_and_a_thread_both_wait_for_what_may_not_be_interrupted() -> None:
    done: list[str] = []

    def work() -> None:
        with interruptible(), interruptible_by_thread() as interrupt:
            try:
                with uninterrupted():
                    interrupt()
                    time.sleep(0.1)
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.1)
                    done.append("the block")
                done.append("more")
            except AbortedByThreadError:
                done.append("gave up")
                raise

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
    assert done == ["the block", "gave up"]


def test_a_thread_can_end_the_next_block_too() -> None:
    def wait() -> None:
        with interruptible_by_thread() as interrupt:
            interrupt()
            time.sleep(60)

    for _ in range(2):
        with pytest.raises(AbortedByThreadError):
            wait()


def test_a_thread_does_not_interrupt_the_cleanup_of_a_stop() -> None:
    cleaned = False

    def work() -> None:
        nonlocal cleaned
        with interruptible(), interruptible_by_thread() as interrupt:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                interrupt()
                time.sleep(0.1)
                cleaned = True

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
    assert cleaned


@pytest.mark.parametrize("number", STOPPING)
def test_a_stop_waits_for_what_may_not_be_interrupted(number: signal.Signals) -> None:
    done: list[str] = []

    def work() -> None:
        with interruptible():
            with uninterrupted(), uninterrupted():
                # Taken by whatever thread the kernel likes: there always is another one.
                os.kill(os.getpid(), number)
                time.sleep(0.1)
                done.append("the block")
            done.append("more")

    with pytest.raises(KeyboardInterrupt, match=number.name):
        work()
    assert done == ["the block"]


def test_a_thread_that_gives_up_waits_for_what_may_not_be_interrupted() -> None:
    done: list[str] = []

    def work() -> None:
        with interruptible(), interruptible_by_thread() as interrupt:
            with uninterrupted():
                interrupt()
                time.sleep(0.1)
                done.append("the block")
            done.append("more")

    with pytest.raises(AbortedByThreadError):
        work()
    assert done == ["the block"]


def test_nothing_waits_for_a_block_in_another_thread() -> None:
    inside, over = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with uninterrupted():
            inside.set()
            over.wait(60)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    inside.wait(60)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not over.is_set()
    over.set()
    thread.join()
