"""Reading a file of a mirror over http or https: one attempt, every answer understood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests

from retrofit import __version__
from retrofit.config import MirrorSettings
from retrofit.deadline import deadline
from retrofit.errors import MirrorError
from retrofit.patience import (
    IN_ALL,
    PASSING,
    InterruptedTransferError,
    arriving,
    retry_after,
    root_cause,
)
from retrofit.streams.transport import Body, NotThereError, OtherFileError

CONNECT_SECONDS = 10.0
"""A mirror that may be out of reach is asked before every decision: that must not last long."""
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Web:
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
            # A packed answer has another size and other ranges than the file.
            "Accept-Encoding": "identity",
        }
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator is not None:
                headers["If-Range"] = validator
        try:
            with deadline(IN_ALL * self._timeout):
                answer = self._answer(url, headers)
        except TimeoutError as error:
            raise InterruptedTransferError(str(error)) from error
        try:
            yield self._body(answer, url, offset)
        finally:
            # Without reading what is left: that may be gigabytes.
            answer.close()

    def _answer(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Ask, and follow redirects. Raises as Transport does for every refusal."""
        at = url
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._get(at, headers)
            if answer.status_code not in REDIRECTS:
                return answer
            answer.close()
            there = urljoin(at, answer.headers.get("Location", ""))
            if urlsplit(there).scheme not in {urlsplit(at).scheme, "https"}:
                raise MirrorError(
                    f"{url} leads from {urlsplit(at).scheme} to {_shown(there)}",
                    hint="a mirror behind https must not send its readers to anything less",
                )
            at = there
        raise MirrorError(
            f"{url} leads from one address to the next, at last to {_shown(at)}",
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
            # OSError is how requests says that a CA bundle named by the environment is missing.
            raise MirrorError(
                f"cannot ask for {_shown(url)}: {root_cause(error)}", hint="check mirror.url"
            ) from error

    def _body(self, answer: requests.Response, url: str, offset: int) -> Body:
        """Make a Body of an answer, or say why there is none."""
        status, said = answer.status_code, f"{answer.status_code} {answer.reason}".strip()
        if status in PASSING:
            raise InterruptedTransferError(
                f"the mirror answers {said}", wait=retry_after(answer.headers.get("Retry-After"))
            )
        if status in {404, 410}:
            raise NotThereError(
                f"there is no {_shown(url)}: the mirror answers {said}",
                hint="check mirror.url, and whether the mirror is whole",
            )
        if status == 416:
            raise OtherFileError("the file became shorter than what was read of it")
        if status not in {200, 206} or (status == 206 and not offset):
            raise MirrorError(
                f"the mirror answers {said} to {_shown(url)}",
                hint={401: "put credentials into ~/.netrc", 407: "check mirror.proxy"}.get(
                    status, "ask whoever runs the mirror"
                ),
            )
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise MirrorError(
                f"the mirror packs {_shown(url)} though asked not to",
                hint="let the mirror, or the proxy before it, serve files as they are",
            )
        begins, total = _extent(answer, offset if status == 206 else 0)
        return Body(
            blocks=arriving(answer.raw, self._timeout),
            offset=begins,
            total=total,
            validator=_validator(answer),
        )


def _extent(answer: requests.Response, offset: int) -> tuple[int, int | None]:
    """Return where the bytes of an answer begin in the file, and how large that is."""
    if answer.status_code == 206:
        said = answer.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", said)
        if match is None or int(match[1]) != offset:
            raise MirrorError(
                f"the mirror answers with another range than was asked for: {said!r}",
                hint="check the mirror, and the proxy before it",
            )
        return offset, int(match[2]) if match[2] != "*" else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _validator(answer: requests.Response) -> str | None:
    """Return what If-Range takes: a strong entity tag, else the date (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        return str(tag)
    return answer.headers.get("Last-Modified")


def _shown(url: str) -> str:
    """Show an address of a stranger's: printable, short, without credentials."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}"[:200]
    return "".join(char if char.isprintable() else "?" for char in text)
