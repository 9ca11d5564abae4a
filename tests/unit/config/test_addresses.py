"""An address is one that can be connected to, and that nothing reads in two ways."""

from __future__ import annotations

import pytest

from retrofit.config.file import parse
from retrofit.errors import ConfigError
from retrofit.lock.drivers import decode_credentials

ADDRESSES = ["notify.url", "mirror.url", "mirror.proxy", "build.http_proxy", "build.https_proxy",
             "build.archive_mirror", "build.security_mirror", "build.cloud_archive_mirror",
             "build.python_index", "lock.url"]  # fmt: skip
UNSIGNED = "[mirror]\nallow_unsigned = true\n"


def text(name: str, value: str) -> bytes:
    section, key = name.split(".")
    more = "allow_unsigned = true\n" if section == "mirror" else ""
    return f'[{section}]\n{key} = "{value}"\n{more}'.encode()


def with_scheme(name: str, rest: str) -> str:
    return f"{'redis' if name == 'lock.url' else 'http'}://{rest}"


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "rest",
    ["host:port", "host:99999", "host:0", "host:-1", "host:", "", ":80", "a b", "[::1", "h\\\\x",
     "user:pa/ss@host", "user:pa#ss@host", "user:pa?ss@host", "user:1/2@host", "u:p@ss@host",
     "-host", "a..b", "host/@x", "{HOST}", "https:"],
)  # fmt: skip
def test_one_that_cannot_be_meant_is_refused(name: str, rest: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text(name, with_scheme(name, rest)), None)
    message = refused.value.message
    assert f"{name}: " in message
    assert "ss@" not in message
    assert len(rest) < 4 or rest not in message


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "rest", ["host", "host:1", "192.0.2.1:65535", "[2001:db8::1]:80", "h-1.a_b"]
)
def test_others_are_accepted(name: str, rest: str) -> None:
    parse(text(name, with_scheme(name, rest)), None)


@pytest.mark.parametrize("name", ["build.http_proxy", "build.https_proxy", "mirror.proxy"])
def test_a_proxy_has_a_scheme_and_no_path(name: str) -> None:
    for value in ("proxy.test:3128", "user:pass@proxy.test:3128", "http://proxy.test/path"):
        with pytest.raises(ConfigError, match=name) as refused:
            parse(text(name, value), None)
        assert "pass" not in refused.value.message
    parse(text(name, "http://proxy.test:3128/"), None)


def test_zookeeper_has_several_servers() -> None:
    parse(text("lock.url", "zookeeper://one:2181,two:2181,[::1]:2181/path"), None)
    with pytest.raises(ConfigError, match=r"lock\.url: the URL's port"):
        parse(text("lock.url", "zookeeper://one:2181,two:port"), None)


def test_a_password_of_redis_may_be_escaped() -> None:
    class Coordinator:
        _parsed_url: object = None

    coordinator = Coordinator()
    url = "redis://me:p%40s%2Fs@host:1"
    parse(text("lock.url", url), None)
    decode_credentials(url, coordinator)
    assert vars(coordinator._parsed_url)["password"] == "p@s/s"
