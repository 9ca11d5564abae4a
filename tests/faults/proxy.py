"""A proxy before the session's Keystone and Glance that lets faults happen to chosen requests."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.faults.network import (
    Fault,
    corrupt,
    cut_after,
    cut_before,
    cut_request,
    delayed,
    garbage,
    stall,
    stall_after,
    stall_body,
    status,
    status_early,
    status_late,
    stop_reading,
    trickle,
    truncate,
)
from tests.faults.wire import Exchange, Request, close, no_fork, opened

__all__ = [
    "Fault",
    "Proxy",
    "Request",
    "corrupt",
    "cut_after",
    "cut_before",
    "cut_request",
    "delayed",
    "garbage",
    "proxying",
    "stall",
    "stall_after",
    "stall_body",
    "status",
    "status_early",
    "status_late",
    "stop_reading",
    "trickle",
    "truncate",
]

POLL = 0.05
PATIENCE = 5.0
"""Seconds for a connection's thread to end once its sockets are gone."""


@dataclass(kw_only=True)
class _Rule:
    matches: Callable[[Request], bool]
    fault: Fault
    times: int | None
    after: int


@dataclass(kw_only=True)
class Proxy:
    """Two addresses on loopback, and what is to go wrong with what is asked there."""

    keystone_url: str = ""
    glance_url: str = ""
    seen: list[Request] = field(default_factory=list)
    hit: list[Request] = field(default_factory=list)
    """Those that met a fault."""
    _rules: list[_Rule] = field(default_factory=list)
    _choose: Callable[[Request], Fault | None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        matches: Callable[[Request], bool],
        fault: Fault,
        *,
        times: int | None = 1,
        after: int = 0,
    ) -> None:
        """Let a fault happen to requests that match, `times` times (None: always).

        The first `after` of them are let through.
        """
        with self._lock:
            self._rules.append(_Rule(matches=matches, fault=fault, times=times, after=after))

    def chance(self, choose: Callable[[Request], Fault | None] | None) -> None:
        """Have `choose` asked for a fault wherever no rule has one; it is asked one at a time."""
        with self._lock:
            self._choose = choose

    def clear(self) -> None:
        """Let everything through from now on, and forget what was seen."""
        with self._lock:
            self._rules.clear()
            self._choose = None
            self.seen.clear()
            self.hit.clear()

    def asked(self, service: str, first_line: str) -> tuple[Request, Fault | None]:
        """Take note of a request, and say which fault it meets."""
        method, target, _version = first_line.split(" ")
        parts = urlsplit(target)
        with self._lock:
            request = Request(
                service=service,
                method=method,
                path=parts.path,
                query=parts.query,
                number=len(self.seen) + 1,
            )
            self.seen.append(request)
            fault = self._fault_for(request)
            if fault is not None:
                self.hit.append(request)
        return request, fault

    def _fault_for(self, request: Request) -> Fault | None:
        for rule in self._rules:
            if rule.times == 0 or not rule.matches(request):
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
            return rule.fault
        return self._choose(request) if self._choose else None


@contextmanager
def proxying(keystone_url: str, glance_url: str) -> Iterator[Proxy]:
    """Stand before both services for the length of the block."""
    proxy = Proxy()
    with ExitStack() as undo:
        for service, url in (("keystone", keystone_url), ("glance", glance_url)):
            command_line = _Door(proxy=proxy, service=service, behind=urlsplit(url).port or 80)
            undo.enter_context(command_line.open())
            setattr(proxy, f"{service}_url", command_line.url)
        yield proxy


class _Door:
    """One service's address, and a thread for every connection to it."""

    def __init__(self, *, proxy: Proxy, service: str, behind: int) -> None:
        self._proxy = proxy
        self._service = service
        self._behind = behind
        self._listener = socket.socket()
        self._ending = threading.Event()
        self._busy: dict[threading.Thread, Exchange] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let clients in for the length of the block."""
        with no_fork():
            opened(self._listener)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        thread = threading.Thread(target=self._let_in)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()
            close(self._listener)
            for worker, exchange in list(self._busy.items()):
                exchange.interrupt()
                worker.join(PATIENCE)
                assert not worker.is_alive(), f"a connection to {self._service} goes on"

    def _let_in(self) -> None:
        while not self._ending.is_set():
            if not select.select([self._listener], [], [], POLL)[0]:
                continue
            with no_fork():
                client = opened(self._listener.accept()[0])
            exchange = Exchange(client, port=self._behind)
            worker = threading.Thread(target=self._serve, args=(exchange,))
            self._busy[worker] = exchange
            worker.start()

    def _serve(self, exchange: Exchange) -> None:
        rudely = True
        try:
            exchange.request, fault = self._proxy.asked(self._service, exchange.head.first)
            (fault.meet if fault else Exchange.relay)(exchange)
            rudely = False
        except OSError:
            # The one that is still there sees what the other did: the connection broke.
            pass
        finally:
            exchange.end(rudely=rudely)
            self._busy.pop(threading.current_thread(), None)
