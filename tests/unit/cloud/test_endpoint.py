"""Where a service answers: the forms that addresses and version documents have."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from keystoneauth1 import exceptions as ks_exc

from retrofit.cloud.endpoint import discovered, unversioned, versioned
from retrofit.cloud.transfer import _Body, _redirected
from retrofit.errors import CloudError, PublishError
from retrofit.system.progress import silent

PROBE = "/v2/schemas/image"


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("http://h:9292", "http://h:9292"),
        ("http://h:9292/", "http://h:9292"),
        ("http://h:9292/v2", "http://h:9292"),
        ("http://h:9292/v2/", "http://h:9292"),
        ("http://h:9292/v2.15", "http://h:9292"),
        ("http://h/image", "http://h/image"),
        ("http://h/image//", "http://h/image"),
        ("http://h/image/v2//", "http://h/image"),
        ("http://h/v2/image", "http://h/v2/image"),
        ("http://h/v2x", "http://h/v2x"),
        ("http://v2", "http://v2"),
    ],
)
def test_a_version_is_what_an_address_ends_in(address: str, base: str) -> None:
    assert unversioned(address) == base
    assert unversioned(base) == base
    assert unversioned(versioned(address, "v2.0")) == base


def version(number: str, *hrefs: str) -> dict[str, Any]:
    return {"id": number, "links": [{"rel": "self", "href": href} for href in hrefs]}


@dataclass
class Answer:
    url: str
    body: Any = None
    status_code: int = 200

    def json(self) -> Any:
        if self.body is None:
            raise ValueError("not JSON")
        return self.body


@dataclass
class Server:
    """A session that knows one answer for each address."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    def get(self, url: str, **_options: object) -> Any:
        self.asked.append(url)
        answer = self.answers.get(url, Answer(url, status_code=404))
        if isinstance(answer, Exception):
            raise answer
        return answer


def base_of(address: str, answers: dict[str, Any]) -> str:
    return discovered(Server(answers), address, major=2, probe=PROBE)


def document(url: str, *versions: dict[str, Any]) -> Answer:
    return Answer(url, {"versions": [*versions]})


@pytest.mark.parametrize(
    "answer",
    [
        Answer("http://h/dashboard/"),
        Answer("http://h/", []),
        Answer("http://h/", {"versions": []}),
        Answer("http://h/", {"versions": "none"}),
        Answer("http://h/", {"title": "portal"}),
        ks_exc.Forbidden(),
        ks_exc.ServiceUnavailable(),
        ks_exc.ConnectFailure(),
    ],
    ids=str,
)
def test_without_a_document_the_address_is_as_good_as_it_was(answer: Any) -> None:
    assert base_of("http://h/v2", {"http://h/": answer}) == "http://h"


def test_hosts_of_links_are_not_believed() -> None:
    answer = document("http://h/", version("v2.15", "http://internal:9292/v2/"))
    assert base_of("http://h", {"http://h/": answer}) == "http://h"


def test_the_older_form_of_a_document_is_read() -> None:
    answer = Answer("http://h/", {"versions": {"values": [version("v2.0", "http://h/v2")]}})
    assert base_of("http://h", {"http://h/": answer}) == "http://h"


def test_a_document_is_believed_where_redirects_end() -> None:
    answer = document("https://h/image/", version("v2.15", "https://h/image/v2/"))
    assert base_of("http://h/image", {"http://h/image/": answer}) == "https://h/image"


def test_no_redirect_takes_tls_away() -> None:
    answer = document("http://h/image/", version("v2.15", "http://h/image/v2/"))
    assert base_of("https://h/image", {"https://h/image/": answer}) == "https://h/image"


@pytest.mark.parametrize(("found", "base"), [(404, "http://h/image"), (200, "http://h")])
def test_another_path_of_a_link_counts_where_ours_is_not_found(found: int, base: str) -> None:
    answers = {
        "http://h/": document("http://h/", version("v2.15", "http://h/image/v2/")),
        f"http://h{PROBE}": Answer("", status_code=found),
    }
    assert base_of("http://h", answers) == base


def test_a_service_of_other_versions_is_refused() -> None:
    answer = document("http://h/", version("v1.0", "http://h/v1/"), version("v3.14", "http://h/v3"))
    with pytest.raises(CloudError, match="has the API versions 1, 3, not 2"):
        base_of("http://h", {"http://h/": answer})


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other/file", "https://h/other/file"),
        ("https://node/file", "https://node/file"),
        ("?a=b", "https://h/v2/file?a=b"),
    ],
)
def test_an_upload_follows_a_redirect(location: str, target: str) -> None:
    assert _redirected("https://h/v2/file", location) == target
    assert _redirected("http://h/v2/file", "https://h/v2/file") == "https://h/v2/file"


@pytest.mark.parametrize("location", ["http://h/v2/file", "HTTP://h/", "ftp://h/"])
def test_no_token_follows_a_redirect_out_of_tls(location: str) -> None:
    with pytest.raises(PublishError, match="without TLS"):
        _redirected("https://h/v2/file", location)


def test_a_body_is_as_long_as_it_says_or_an_error() -> None:
    content = b"x" * (3 << 20) + b"y"
    told: list[float] = []
    body = _Body(io.BytesIO(content), len(content), lambda _what, part: told.append(part or 0.0))
    assert b"".join(body) == content
    assert len(body) == len(content)
    assert told == sorted(told)
    assert told[-1] == 1.0
    # No byte more than was declared, should the file have grown.
    assert b"".join(_Body(io.BytesIO(content + b"z"), len(content), silent)) == content
    short = io.BytesIO(content[:-1])
    short.name = "amphora.qcow2"
    with pytest.raises(PublishError, match=r"amphora\.qcow2 became shorter"):
        b"".join(_Body(short, len(content), silent))
