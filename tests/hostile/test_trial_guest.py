"""A guest that drips its answers, or never stops talking: the trial ends in good time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from retrofit.model import Outcome
from retrofit.verify.boot import agent as agent_module
from retrofit.verify.boot import traffic, trial
from retrofit.verify.boot.agent import Agent
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.scenario import SINGLE
from retrofit.verify.boot.trial import REST_TIMEOUT, Trial
from retrofit.verify.checks import Record

PAUSE = 0.05
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def dripping(beginning: bytes, wrap: Callable[[socket.socket], socket.socket]) -> Iterator[int]:
    """Answer every connection with `beginning` and then a byte at a time, for a long while."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), wrap(connection) as channel:
            channel.sendall(beginning)
            for _ in range(200):
                if over.wait(PAUSE):
                    break
                channel.sendall(b"x")

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class Here:
    """A namespace that leads to a server on loopback, whatever is asked for."""

    def __init__(self, port: int) -> None:
        self._port = port

    def connect(self, _address: tuple[str, int], timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout)


@pytest.mark.parametrize("beginning", [b"", HEAD], ids=["head", "body"])
def test_a_balancer_that_drips_is_not_waited_for(
    beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "FETCH_TIMEOUT", 0.3)
    begun = time.monotonic()
    with (
        dripping(beginning, lambda plain: plain) as port,
        pytest.raises(TimeoutError, match="no whole answer"),
    ):
        traffic.fetch(cast(Any, Here(port)), 80, "/")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("beginning", [b"", HEAD], ids=["head", "body"])
def test_an_agent_that_drips_is_not_waited_for(beginning: bytes, tmp_path: Path) -> None:
    made = Credentials.make("6e1f")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.server.write(tmp_path / "server.pem"))
    begun = time.monotonic()
    with dripping(beginning, lambda plain: server.wrap_socket(plain, server_side=True)) as port:
        agent = Agent(cast(Any, Here(port)), made, "6e1f", tmp_path)
        with pytest.raises(TimeoutError, match="no whole answer"):
            agent.ask("GET", "/", timeout=0.3)
    assert time.monotonic() - begun < 5
    assert agent_module.DEADLINE_FACTOR * agent_module.REQUEST_TIMEOUT < REST_TIMEOUT


def on_trial(age: float) -> Trial:
    """A trial of a machine that has run for so long."""
    machine = SimpleNamespace(
        age=age, require_bounded_output=lambda: None, require_alive=lambda: None
    )
    amphora = SimpleNamespace(id="6e1f", agent=None, probe=None, machine=machine, scenario=SINGLE)
    request = SimpleNamespace(
        settings=SimpleNamespace(timeout=60), build=SimpleNamespace(ssh="keep"), progress=None,
        log_dir=None, work_dir=None, control_plane=None,
    )  # fmt: skip
    return Trial(cast(Any, amphora), cast(Any, request), full=False)


def test_the_whole_trial_has_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "REST_TIMEOUT", 1.0)
    record, begun = Record(), time.monotonic()

    def endless() -> str:
        time.sleep(10)
        return "waited"

    record.attempt("late", on_trial(age=60.7)._unless_lost(endless))
    record.attempt("too late", on_trial(age=61.1)._unless_lost(endless))
    assert time.monotonic() - begun < 5
    assert [check.outcome for check in record.checks] == [Outcome.FAILED] * 2
    assert "no end of this check" in record.checks[0].detail
    assert "took more than 61 s" in record.checks[1].detail
