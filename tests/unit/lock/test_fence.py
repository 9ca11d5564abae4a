"""No write reaches Glance without the permit of every lock that is held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from retrofit.cloud import Glance
from retrofit.cloud.requests import Requests
from retrofit.errors import LockLostError
from retrofit.lock.fence import check_before_writes, require_write_permit
from retrofit.model import Image
from tests.unit.images import amphora

FILE = Path(__file__)
WRITES: dict[str, Callable[[Glance, Image], Any]] = {
    "create": lambda glance, _: glance.create({"name": "amphora"}),
    "upload": lambda glance, image: glance.upload(image, FILE),
    "tag": lambda glance, image: glance.tag(image.id, "octavia-amphora"),
    "untag": lambda glance, image: glance.untag(image.id, "octavia-amphora"),
    "update": lambda glance, image: glance.update(image.id, {"os_hidden": True}),
    "delete": lambda glance, image: glance.delete(image.id),
}
READS = {
    "clock", "connect", "list", "get", "octavia_image", "download", "quotas", "read_ends",
    "read_whole",
}  # fmt: skip


def refuse() -> None:
    raise LockLostError("the lock was lost")


@pytest.mark.parametrize("write", WRITES)
def test_a_write_without_permit_sends_nothing(write: str) -> None:
    client = MagicMock()
    requests = Requests(MagicMock(), retries=0, timeout=1)
    glance = Glance(client, requests=requests, project_id="ours", where="here")
    with check_before_writes(refuse), pytest.raises(LockLostError):
        WRITES[write](glance, amphora(1))
    assert client.mock_calls == []


def test_whatever_is_no_read_is_known_as_a_write() -> None:
    public = {name for name in vars(Glance) if not name.startswith("_")}
    assert public - READS == set(WRITES)


def test_every_lock_is_asked_each_time_and_none_after_its_block() -> None:
    asked: list[str] = []
    with check_before_writes(lambda: asked.append("one")):
        require_write_permit()
        with check_before_writes(lambda: asked.append("two")):
            require_write_permit()
        require_write_permit()
    require_write_permit()
    assert asked == ["one", "one", "two", "one"]
