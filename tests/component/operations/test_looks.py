"""A look gives up a cloud that does not answer, in whatever way, long before a run would."""

from __future__ import annotations

import socket
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from retrofit.cloud import requests
from retrofit.config import CloudSettings, PathSettings, Settings, Target
from retrofit.errors import CloudError
from retrofit.operations.repair import Watcher
from retrofit.status import CloudFacts
from retrofit.status.cloud import ask
from tests.answering import answering

ENDLESS = 60.0


def hangs(_connection: socket.socket, ended: Event) -> None:
    ended.wait(ENDLESS)


def hangs_up(connection: socket.socket, _ended: Event) -> None:
    connection.recv(1000)


def trickles(connection: socket.socket, ended: Event) -> None:
    """Send a header without an end, of which each byte comes in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    with suppress(OSError):
        while not ended.wait(0.02):
            connection.sendall(b"x")


class Mute(socketserver.ThreadingTCPServer):
    """A server that takes connections, and gives no whole answer to any."""

    allow_reuse_address = True

    def __init__(self, behaviour: Callable[[socket.socket, Event], None]) -> None:
        self.behaviour, self.ended, self.taken = behaviour, Event(), 0
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, _client_address: Any) -> None:
        self.taken += 1
        self.behaviour(request, self.ended)


@pytest.fixture(params=[hangs, hangs_up, trickles])
def mute(request: Any) -> Iterator[Mute]:
    with Mute(request.param) as server, answering(server):
        yield server
        server.ended.set()


@pytest.fixture
def target(mute: Mute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target with the limits of a run as they are by default, and shorter ones for a look."""
    monkeypatch.setattr(requests, "LOOK_SECONDS", 0.1)
    auth = {"auth_url": f"http://127.0.0.1:{mute.server_address[1]}/v3", "username": "u"}
    clouds = {"clouds": {"mute": {"auth": {**auth, "password": "p", "project_name": "p"}}}}
    path = tmp_path / "clouds.yaml"
    path.write_text(yaml.safe_dump(clouds))
    path.chmod(0o600)
    return Target(cloud=CloudSettings(name="mute", clouds_yaml=path))


def settings(target: Target, tmp_path: Path) -> Settings:
    root = tmp_path
    paths = PathSettings(state=root / "s", cache=root / "c", work=root / "w", logs=root / "l")
    return Settings(paths=paths, targets=(target,))


def test_the_workers_look(mute: Mute, target: Target, tmp_path: Path) -> None:
    watcher = Watcher(target, settings(target, tmp_path))
    begun = time.monotonic()
    for looks in (1, 2):
        with pytest.raises(CloudError):
            watcher.look()
        assert mute.taken >= looks  # it connects again
    assert time.monotonic() - begun < 30


def test_the_look_for_page_and_status_keeps_what_was_known(
    mute: Mute, target: Target, tmp_path: Path
) -> None:
    before = CloudFacts()
    begun = time.monotonic()
    facts = ask(target, settings(target, tmp_path), before=before)
    assert time.monotonic() - begun < 30
    assert facts.error is not None
    assert facts.error.code == "cloud"
    assert mute.taken > 0
