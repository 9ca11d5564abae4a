"""The guard of this directory sees a process and a connection, whatever catches the error."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.unit import conftest


def popen() -> None:
    subprocess.run([sys.executable, "--version"], check=True)


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def bind() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


@pytest.mark.parametrize("forbidden", [popen, fork, bind])
def test_guard_stops_and_remembers(forbidden: Callable[[], None]) -> None:
    with suppress(Exception):
        forbidden()
    seen = conftest.watch().seen
    assert len(seen) == 1
    seen.clear()
