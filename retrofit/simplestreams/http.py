"""Reading a file of a mirror over http or https: one attempt, every response handled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests

from retrofit import __version__
from retrofit.config import MirrorSettings
from retrofit.errors import MirrorError
from retrofit.simplestreams.transport import Body, FileChangedError, NotFoundError
from retrofit.system.deadline import deadline
from retrofit.system.http_body import (
    DEADLINE_FACTOR,
    InterruptedTransferError,
    read_body,
    root_cause,
)
from retrofit.system.retry import PASSING, retry_after

CONNECT_SECONDS = 10.0
"""An unreachable mirror is contacted before every decision: that must not last long."""
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpTransport:
    """A mirror behind http or https."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._session = requests.Session()
        # As parameters of each request: the environment overrides a session's own values.
        self._verify: str | bool = str(settings.ca_bundle) if settings.ca_bundle else True
        self._proxies = dict.fromkeys(("http", "https"), settings.proxy) if settings.proxy else {}
        self._timeout = float(settings.timeout)

    @contextmanager
    def open(self, url: str, *, offset: int, validator: str | None) -> Iterator[Body]:
        """Open a file; see Transport."""
        headers = {
            "User-Agent": f"retrofit/{__version__}",
            # A compressed response has another size and other ranges than the file.
            "Accept-Encoding": "identity",
        }
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator is not None:
                headers["If-Range"] = validator
        try:
            with deadline(DEADLINE_FACTOR * self._timeout):
                response = self._request(url, headers)
        except TimeoutError as error:
            raise InterruptedTransferError(str(error)) from error
        try:
            yield self._body(response, url, offset)
        finally:
            # Without reading the rest: that may be gigabytes.
            response.close()

    def _request(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Send the request and follow redirects. Raises as Transport does."""
        at = url
        for _ in range(MOST_REDIRECTS + 1):
            response = self._get(at, headers)
            if response.status_code not in REDIRECTS:
                return response
            response.close()
            there = urljoin(at, response.headers.get("Location", ""))
            if urlsplit(there).scheme not in {urlsplit(at).scheme, "https"}:
                raise MirrorError(
                    f"{url} redirects from {urlsplit(at).scheme} to {_shown(there)}",
                    hint="a mirror behind https must redirect to https only",
                )
            at = there
        raise MirrorError(
            f"{url} redirects more than {MOST_REDIRECTS} times, at last to {_shown(at)}",
            hint="check mirror.url",
        )

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(min(CONNECT_SECONDS, self._timeout), self._timeout),
                verify=self._verify,
                proxies=self._proxies,
            )
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE" not in str(error):
                raise InterruptedTransferError(root_cause(error)) from error
            raise MirrorError(
                f"cannot trust {_shown(url)}: {root_cause(error)}",
                hint="set mirror.ca_bundle to the certificates of the mirror's authority",
            ) from error
        except (requests.exceptions.Timeout, TimeoutError) as error:
            raise InterruptedTransferError(f"no answer within {self._timeout:g} seconds") from error
        except requests.exceptions.ConnectionError as error:
            through = "the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
            raise InterruptedTransferError(f"{through}{root_cause(error)}") from error
        except (requests.exceptions.RequestException, OSError, ValueError) as error:
            # requests raises OSError for a missing CA bundle that the environment names.
            raise MirrorError(
                f"cannot request {_shown(url)}: {root_cause(error)}", hint="check mirror.url"
            ) from error

    def _body(self, response: requests.Response, url: str, offset: int) -> Body:
        """Return the Body of a response. Raises as Transport does."""
        status, shown = response.status_code, f"{response.status_code} {response.reason}".strip()
        if status in PASSING:
            raise InterruptedTransferError(
                f"the mirror answers {shown}", wait=retry_after(response.headers.get("Retry-After"))
            )
        if status in {404, 410}:
            raise NotFoundError(
                f"there is no {_shown(url)}: the mirror answers {shown}",
                hint="check mirror.url, and whether the mirror is whole",
            )
        if status == 416:
            raise FileChangedError("the file is shorter now than what was read of it")
        if status not in {200, 206} or (status == 206 and not offset):
            raise MirrorError(
                f"the mirror answers {shown} to {_shown(url)}",
                hint={401: "put credentials into ~/.netrc", 407: "check mirror.proxy"}.get(
                    status, "ask the operator of the mirror"
                ),
            )
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise MirrorError(
                f"the mirror compresses {_shown(url)} against our request",
                hint="configure the mirror, or the proxy before it, to serve files unchanged",
            )
        begins, total = _extent(response, offset if status == 206 else 0)
        return Body(
            blocks=read_body(response.raw, self._timeout),
            offset=begins,
            total=total,
            validator=_validator(response),
        )


def _extent(response: requests.Response, offset: int) -> tuple[int, int | None]:
    """Return the offset of the response in the file, and the size of the file."""
    if response.status_code == 206:
        header = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", header)
        if match is None or int(match[1]) != offset:
            raise MirrorError(
                f"the mirror sent another range than requested: {header!r}",
                hint="check the mirror, and the proxy before it",
            )
        return offset, int(match[2]) if match[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _validator(response: requests.Response) -> str | None:
    """Return a value for If-Range: a strong entity tag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):
        return str(tag)
    return response.headers.get("Last-Modified")


def _shown(url: str) -> str:
    """Return an address as printable text, short and without credentials."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}"[:200]
    return "".join(char if char.isprintable() else "?" for char in text)
