"""A Glance whose reads are some seconds behind its writes, as with replicas of its database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.devcloud.fronts import Front, Handler
from tests.integration.harness import CloudHarness

BEHIND = 3.0
"""Seconds."""
IMAGES = "/v2/images/"

Answer = tuple[int, bytes, str]


@dataclass
class Lag:
    """Answers each read as it was `BEHIND` seconds ago.

    Only writes through the front change anything: right before each of them all that was ever read
    is read anew, and kept.
    """

    url: str
    paths: set[str] = field(default_factory=set)
    kept: list[tuple[float, dict[str, Answer]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    late: int = 0
    """Answers that were of the past."""

    def meet(self, handler: Handler) -> bool:
        token = handler.headers.get("X-Auth-Token", "")
        if handler.path.endswith("/file") and handler.command == "GET":
            return False
        with self.lock:
            if handler.command != "GET":
                now = {path: self._read(path, token) for path in sorted(self.paths)}
                self.kept.append((time.monotonic(), now))
                return False
            self.paths.add(handler.path)
            status, body, kind = self._past(handler.path) or self._read(handler.path, token)
        handler.answer(status, body, Content_Type=kind)
        return True

    def _past(self, path: str) -> Answer | None:
        then = time.monotonic() - BEHIND
        known = next((answers for when, answers in self.kept if when >= then), None)
        if known is None:
            return None
        self.late += 1
        is_image = path.startswith(IMAGES) and path.count("/") == IMAGES.count("/")
        missing = (404, b"<html>no such image</html>", "text/html") if is_image else None
        return known.get(path, missing)

    def _read(self, path: str, token: str) -> Answer:
        request = Request(f"{self.url}{path}", headers={"X-Auth-Token": token})  # noqa: S310
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read(), answer.headers["Content-Type"]
        except HTTPError as error:
            return error.code, error.read(), error.headers["Content-Type"] or "text/html"


@pytest.fixture
def lag(harness: CloudHarness, tmp_path: Path) -> Iterator[Lag]:
    """Put a front that lags before the harness's Glance."""
    made = Lag(url=harness.site.glance_url)
    with Front(behind=harness.site.glance_url, meet=made.meet).serving() as front:
        document = yaml.safe_load(harness.site.clouds_yaml.read_text())
        for cloud in document["clouds"].values():
            cloud["image_endpoint_override"] = front.url
        clouds = tmp_path / "lagging.yaml"
        clouds.write_text(yaml.safe_dump(document))
        clouds.chmod(0o600)
        harness.clouds_yaml = clouds
        yield made


@pytest.mark.slow
def test_a_run_publishes_and_retires(harness: CloudHarness, lag: Lag) -> None:
    harness.toml = "[publish]\nkeep = 1\nretire_after = 0\nretire_after_unknown = 0\n"
    harness.source("20260911")
    first = harness.act("run-once")["image_id"]
    time.sleep(BEHIND)
    harness.source("20260912")
    report = harness.act("run-once")
    assert (report["outcome"], report["error"]) == ("published", None)
    assert lag.late > 0
    assert harness.tagged() == {report["image_id"]} != {first}


def test_a_promotion_by_hand_and_back(harness: CloudHarness, lag: Lag) -> None:
    former = harness.former("20260911", days=9)
    standing = harness.promoted("20260912", days=3)
    assert harness.act("promote", "--yes", former)["outcome"] == "promoted"
    time.sleep(BEHIND)
    assert harness.act("promote", "--yes", standing)["outcome"] == "promoted"
    assert lag.late > 0
    assert harness.tagged() == {standing}
