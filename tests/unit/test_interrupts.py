from __future__ import annotations

import os
import signal

import pytest

from retrofit.interrupts import STOPPING, interruptible


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
