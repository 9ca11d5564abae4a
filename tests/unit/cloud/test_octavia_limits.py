"""An Octavia that hangs holds up no run where it has nothing to decide but deletions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from unittest.mock import MagicMock

import pytest
import requests

from retrofit.cloud import octavia
from retrofit.cloud.failover import FailoverOctavia
from retrofit.cloud.octavia import Octavia
from retrofit.cloud.octavia_errors import OctaviaError
from retrofit.cloud.requests import Requests
from retrofit.config import CloudSettings, OctaviaSettings, Target


def target(query: str, **cloud: int) -> Target:
    return Target(
        cloud=CloudSettings(**({"retries": 4, "timeout": 120} | cloud)),
        octavia=OctaviaSettings(query=query),  # type: ignore[arg-type]
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """How Octavia was asked, which never answers."""
    seen: list[Target] = []

    def connect(given: Target, **_: float) -> Octavia:
        seen.append(given)
        raise OctaviaError("find Octavia", "it hangs", hint="see why")

    monkeypatch.setattr(Octavia, "connect", connect)
    return seen


def test_what_amphorae_run_on_is_not_waited_for(asked: list[Target]) -> None:
    assert octavia.usage(target("auto")).unknown == "it hangs"
    assert (asked[0].cloud.timeout, asked[0].cloud.retries) == (15, 1)


@pytest.mark.parametrize("ask", [octavia.control_plane, octavia.kinds_of_load_balancers])
def test_nor_are_release_and_kinds(asked: list[Target], ask: Callable[[Target], object]) -> None:
    ask(target("auto"))
    assert (asked[0].cloud.timeout, asked[0].cloud.retries) == (15, 0)


def test_a_shorter_limit_of_the_configuration_stays(asked: list[Target]) -> None:
    octavia.usage(target("auto", timeout=5, retries=0))
    assert (asked[0].cloud.timeout, asked[0].cloud.retries) == (5, 0)


def test_a_required_answer_is_waited_for_as_configured(asked: list[Target]) -> None:
    with pytest.raises(OctaviaError):
        octavia.usage(target("require"))
    assert (asked[0].cloud.timeout, asked[0].cloud.retries) == (120, 4)


def test_answers_that_trickle_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_given: Target, **_: float) -> Octavia:
        time.sleep(20)
        raise AssertionError("waited")

    monkeypatch.setattr(Octavia, "connect", connect)
    monkeypatch.setattr(octavia, "MOST_SECONDS", 0.2)
    assert "0.2 seconds" in (octavia.usage(target("auto")).unknown or "")


class Slow:
    """A proxy to an Octavia whose answers take two seconds."""

    def __init__(self) -> None:
        self.asked = 0

    def get(self, _path: str, params: dict[str, str]) -> requests.Response:
        del params
        self.asked += 1
        time.sleep(2)
        response = requests.Response()
        response.status_code = 200
        response._content = b'{"amphorae": []}'
        return response


def test_no_request_is_made_again_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()

    def connect(given: Target, *, until: float = math.inf) -> Octavia:
        cloud = given.cloud
        return Octavia(slow, Requests(MagicMock(), retries=cloud.retries, timeout=10, until=until))

    monkeypatch.setattr(Octavia, "connect", connect)
    monkeypatch.setattr(octavia, "MOST_SECONDS", 0.2)
    assert "0.2 seconds" in (octavia.usage(target("auto")).unknown or "")
    assert slow.asked == 1


@pytest.mark.parametrize("limit", [0.2, -1.0])
def test_a_request_ends_at_the_end_of_all(limit: float) -> None:
    requests_made = Requests(MagicMock(), retries=4, timeout=10, until=time.monotonic() + limit)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        requests_made.make(lambda: time.sleep(2), "wait")
    assert time.monotonic() - begun < 1


def test_the_request_for_a_failover_ends_in_time_and_is_made_once() -> None:
    class Trickling:
        asked = 0

        def put(self, _path: str) -> requests.Response:
            self.asked += 1
            time.sleep(3)
            raise AssertionError("waited")

    proxy = Trickling()
    cloud = FailoverOctavia(proxy, Requests(MagicMock(), retries=4, timeout=0.02))
    with pytest.raises(OctaviaError, match=r"0\.2 seconds"):
        cloud.fail_over("lb")
    assert proxy.asked == 1
