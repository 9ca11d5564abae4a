"""A run that publishes leaves its credentials nowhere: not here, not in Glance, not where it tells.

All is real but what diskimage-builder and the boot would do, and the stand-in for the former says
on its output what careless packages say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.devcloud import accounts
from tests.faults.builds import Builds
from tests.faults.quick_builds import SETTINGS, quick_builds
from tests.hostile.planted import ADDRESS, SECRET, Watch
from tests.integration.conftest import image_manager, stage
from tests.integration.receiver import Receiver, receiving
from tests.integration.stage import Stage

__all__ = ["image_manager", "stage"]

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


@pytest.fixture
def planted(stage: Stage, receiver: Receiver) -> Iterator[Builds]:
    """A stage whose every credential is the planted one."""
    accounts.add_user(stage.site.keystone_url, USER, SECRET)
    clouds = yaml.safe_load(stage.site.clouds_yaml.read_text())
    clouds["clouds"][stage.account]["auth"] |= {"username": USER, "password": SECRET}
    stage.clouds_yaml = stage.directory / "planted.yaml"
    secret = stage.directory / "secret"
    for path, text in ((stage.clouds_yaml, yaml.safe_dump(clouds)), (secret, SECRET)):
        path.write_text(text)
        path.chmod(0o600)
    told = ADDRESSES.replace("URL", receiver.url).replace("FILE", str(secret))
    told = told.replace("METRICS", str(stage.path("logs") / "retrofit.prom"))
    builds = quick_builds(stage, SETTINGS + told)
    careless = stage.path("stand-in") / "tools" / "disk-image-create"
    careless.write_text(careless.read_text().replace("set -eE\n", f"set -eE\n{CARELESS}", 1))
    try:
        yield builds
    finally:
        accounts.remove_user(stage.site.keystone_url, USER)


def assert_silent(what: object, content: bytes) -> None:
    assert SECRET.encode() not in content, what
    assert USER.encode() not in content, what
    assert not TOKEN.search(content), what


def test_a_published_run_leaves_its_credentials_nowhere(
    planted: Builds, receiver: Receiver, tmp_path: Path
) -> None:
    stage = planted.stage
    with Watch() as watch:
        planted.publish()
        ended = planted.begin("--force").ended(timeout=180)
    assert ended.exit_code == 0
    assert watch.looks > 20
    assert watch.seen == set()
    # What the stand-in was given is what it would have told: the masking had work to do.
    assert SECRET in (stage.path("stand-in") / "record" / "environment").read_text()
    assert "***" in next(stage.path("logs").rglob("build.log")).read_text()
    assert_silent("the run", (ended.stdout + ended.stderr).encode())
    for words in (
        ("status", "-o", "json"), ("history", "-o", "json"), ("list", "-o", "json"),
        ("logs", "last"), ("audit", "-o", "json"), ("config", "show"), ("plan", "-v"),
        ("notify",), ("show", str(stage.octavia()), "-o", "json"),
    ):  # fmt: skip
        answer = stage.retrofit(*words)
        assert_silent(words, (answer.stdout + answer.stderr).encode())
    seen = 0
    for place in ("state", "cache", "work", "logs", "tmp"):
        for path in stage.path(place).rglob("*"):
            assert_silent(path, str(path).encode())
            if path.is_file():
                assert_silent(path, path.read_bytes())
                seen += 1
    assert seen > 10
    for image in stage.everything().values():
        assert_silent(image["id"], json.dumps(image).encode())
        for block in stage.client.images.data(image["id"]):
            assert_silent(image["id"], block)
    assert receiver.requests
    for request in receiver.requests:
        assert_silent("what a webhook gets", request["body"] + str(request["headers"]).encode())
