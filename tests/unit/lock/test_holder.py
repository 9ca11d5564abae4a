"""The name of a member tells host and process; anything else tells nothing."""

from __future__ import annotations

import os
import socket

import pytest

from retrofit.lock.holder import Holder, member, read_member


def test_this_process_is_read_again_from_its_name() -> None:
    found = read_member(member())
    assert found == Holder(host=socket.gethostname(), pid=os.getpid())
    assert member() != member()


@pytest.mark.parametrize(
    ("name", "host", "pid"),
    [
        (b"compute-1.example-42-abcd", "compute-1.example", 42),
        ("c1-7-x", "c1", 7),
    ],
)
def test_hosts_may_have_hyphens(name: bytes | str, host: str, pid: int) -> None:
    assert read_member(name) == Holder(host=host, pid=pid)


@pytest.mark.parametrize(
    "name", [None, b"", "x", b"c1-pid-x", b"c1-5", b"\xff-1", "-1-x", b"c1-1-"]
)
def test_what_is_no_such_name_is_nobody(name: bytes | str | None) -> None:
    assert read_member(name) is None
