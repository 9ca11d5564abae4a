"""Unit tests start no process and open no connection: those that do belong in tests/component."""

from __future__ import annotations

import sys
from collections.abc import Generator
from functools import cache
from typing import Any

import pytest

FORBIDDEN = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
}


class NotAUnitTestError(Exception):
    """A test below tests/unit started a process or opened a connection."""


class _Watch:
    """What a unit test did that it must not; off between tests, since a hook cannot be removed."""

    def __init__(self) -> None:
        self.active = False
        self.seen: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and event in FORBIDDEN:
            self.seen.append(f"{event}{arguments!r}"[:300])
            raise NotAUnitTestError(self.seen[-1])


@cache
def watch() -> _Watch:
    """An audit hook sees every way to start a process, whatever name a module gave it."""
    made = _Watch()
    sys.addaudithook(made.hook)
    return made


# Hooks and not a fixture: fixtures of a module or session run before those of a function.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Start to watch."""
    watch().seen.clear()
    watch().active = True
    yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail the test also where the code that it called caught the error.

    What is taken down is not watched: after a process's last test, that is also the session's
    fixtures of other directories.
    """
    watch().active = False
    yield
    if watch().seen:
        raise NotAUnitTestError(f"move it to tests/component: {watch().seen}")


@pytest.fixture(autouse=True)
def no_pause_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: nothing lags in memory."""
    monkeypatch.setattr("retrofit.publish.look_again.PAUSE", 0.0)
