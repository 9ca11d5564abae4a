"""A block ends at its deadline, whatever it waits in, and others know nothing of that."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from retrofit.deadline import deadline


def test_ends_a_wait_that_no_limit_of_a_socket_ends() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(1)
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                there.send(b".")

        thread = threading.Thread(target=trickle)
        thread.start()

        def listen() -> None:
            while here.recv(1):
                continue

        begun = time.monotonic()
        try:
            with pytest.raises(TimeoutError, match=r"within 0\.3 seconds"), deadline(0.3):
                listen()
        finally:
            stop.set()
            thread.join()
    assert time.monotonic() - begun < 5


def test_a_block_in_time_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(60):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_does_nothing_where_no_signal_is_handled() -> None:
    ended: list[str] = []

    def work() -> None:
        with deadline(0.01):
            time.sleep(0.1)
        ended.append("well")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == ["well"]
