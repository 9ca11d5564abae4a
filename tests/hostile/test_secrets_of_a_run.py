"""A run that publishes leaves its credentials nowhere: not here, not in Glance, not where it tells.

All is real but what diskimage-builder and the boot would do, and the stand-in for the former says
on its output what careless packages say.
"""

from __future__ import annotations

import http.server
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.answering import answering
from tests.devcloud import accounts
from tests.faults.builds import Builds
from tests.faults.quick_builds import SETTINGS, quick_builds
from tests.hostile.planted import ADDRESS, SECRET, Watch
from tests.integration.conftest import harness, image_manager
from tests.integration.harness import CloudHarness
from tests.integration.receiver import Receiver, receiving

__all__ = ["harness", "image_manager"]

USER = "planted-user"
# Fernet tokens of Keystone, wherever one might be told.
TOKEN = re.compile(rb"gAAAAA[\w-]{60,}")
CARELESS = r"""
echo "Get:1 $http_proxy index, and $UV_DEFAULT_INDEX"
env | sort
"""
ADDRESSES = f"""
python_index = "https:{ADDRESS}/simple"
http_proxy = "http:{ADDRESS}"
https_proxy = "http:{ADDRESS}"
archive_mirror = "http:{ADDRESS}/debian"
security_mirror = "http:{ADDRESS}/security"
[notify]
url = "URL/services/{SECRET}"
secret_file = "FILE"
[metrics]
textfile = "METRICS"
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Archive(http.server.BaseHTTPRequestHandler):
    """A mirror, or a proxy before one, that has whatever is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"an index")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server, answering(server):
        yield server.server_port


@pytest.fixture
def planted(harness: CloudHarness, receiver: Receiver, archive_port: int) -> Iterator[Builds]:
    """A harness whose every credential is the planted one."""
    accounts.add_user(harness.site.keystone_url, USER, SECRET)
    clouds = yaml.safe_load(harness.site.clouds_yaml.read_text())
    clouds["clouds"][harness.account]["auth"] |= {"username": USER, "password": SECRET}
    harness.clouds_yaml = harness.directory / "planted.yaml"
    secret = harness.directory / "secret"
    for path, text in ((harness.clouds_yaml, yaml.safe_dump(clouds)), (secret, SECRET)):
        path.write_text(text)
        path.chmod(0o600)
    told = ADDRESSES.replace("URL", receiver.url).replace("FILE", str(secret))
    told = told.replace("127.0.0.1:9/", f"127.0.0.1:{archive_port}/")
    told = told.replace('127.0.0.1:9"', f'127.0.0.1:{archive_port}"')
    told = told.replace("METRICS", str(harness.path("logs") / "retrofit.prom"))
    builds = quick_builds(harness, SETTINGS + told)
    careless = harness.path("stand-in") / "tools" / "disk-image-create"
    careless.write_text(careless.read_text().replace("set -eE\n", f"set -eE\n{CARELESS}", 1))
    try:
        yield builds
    finally:
        accounts.remove_user(harness.site.keystone_url, USER)


def assert_silent(what: object, content: bytes) -> None:
    assert SECRET.encode() not in content, what
    assert USER.encode() not in content, what
    assert not TOKEN.search(content), what


def test_a_published_run_leaves_its_credentials_nowhere(
    planted: Builds, receiver: Receiver, tmp_path: Path
) -> None:
    harness = planted.harness
    with Watch() as watch:
        planted.publish()
        ended = planted.begin("--force").ended(timeout=180)
    assert ended.exit_code == 0
    assert watch.looks > 20
    assert watch.seen == set()
    # What the stand-in was given is what it would have told: the masking had work to do.
    assert SECRET in (harness.path("stand-in") / "record" / "environment").read_text()
    assert "***" in next(harness.path("logs").rglob("build.log")).read_text()
    assert_silent("the run", (ended.stdout + ended.stderr).encode())
    for words in (
        ("status", "-o", "json"), ("history", "-o", "json"), ("list", "-o", "json"),
        ("logs", "last"), ("audit", "-o", "json"), ("config", "show"), ("plan", "-v"),
        ("notify",), ("show", str(harness.octavia()), "-o", "json"),
    ):  # fmt: skip
        answer = harness.retrofit(*words)
        assert_silent(words, (answer.stdout + answer.stderr).encode())
    seen = 0
    for place in ("state", "cache", "work", "logs", "tmp"):
        for path in harness.path(place).rglob("*"):
            assert_silent(path, str(path).encode())
            if path.is_file():
                assert_silent(path, path.read_bytes())
                seen += 1
    assert seen > 10
    for image in harness.everything().values():
        assert_silent(image["id"], json.dumps(image).encode())
        for block in harness.client.images.data(image["id"]):
            assert_silent(image["id"], block)
    assert receiver.requests
    for request in receiver.requests:
        assert_silent("what a webhook gets", request["body"] + str(request["headers"]).encode())
