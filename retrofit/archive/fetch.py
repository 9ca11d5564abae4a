"""A file at an address of http or https, fetched again only where it has changed."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import requests
from requests.utils import should_bypass_proxies

from retrofit import __version__
from retrofit.archive.advisory_files import AdvisoryError
from retrofit.config import BuildSettings
from retrofit.documents import Document
from retrofit.redaction import redacted
from retrofit.system.directories import make_directory
from retrofit.system.http_body import InterruptedTransferError, read_body, root_cause

LARGEST = 2 << 30
"""Bytes of a file of advisories: OSV's of a release of Ubuntu has some hundred megabytes."""
TIMEOUT = 30.0
LIMIT = 900.0
"""Seconds without a byte, and for the whole file."""
UNCHANGED = 304
OF_A_FETCH = re.compile(r"\.?(?P<name>[0-9a-f]{16})(\.json|(?P<part>\.part))?")
"""Names of what a fetch leaves: the file, its record, and a part of one that was killed."""


class Fetched(Document):
    """What a server said of a file that was fetched."""

    etag: str | None = None
    modified: str | None = None


def fetched(url: str, directory: Path, build: BuildSettings, authorities: Path | None) -> Path:
    """Return the file at an address, as it is now. It is kept in `directory`.

    Proxies are those of a build; `authorities` is a file of certificates (None: the usual ones).
    Raises AdvisoryError; the file that was there before stays.
    """
    kept = directory / _name_of(url)
    try:
        make_directory(directory)
        _fetch(url, kept, build, authorities)
    except (requests.RequestException, InterruptedTransferError) as error:
        raise AdvisoryError(
            f"cannot fetch {redacted(url)}: {redacted(root_cause(error))}"
        ) from error
    except OSError as error:
        raise AdvisoryError(f"cannot fetch {redacted(url)}: {error.strerror or error}") from error
    return kept


def kept_before(url: str, directory: Path) -> Path | None:
    """Return the file that was fetched before, None where there is none."""
    kept = directory / _name_of(url)
    return kept if kept.is_file() else None


def forget_others(urls: Iterable[str], directory: Path) -> None:
    """Delete from `directory` what was fetched from other addresses than these, or cut short.

    Raises OSError where the directory cannot be read; a file that cannot be deleted stays.
    """
    if not directory.is_dir():
        return
    names = {_name_of(url) for url in urls}
    for file in directory.iterdir():
        found = OF_A_FETCH.fullmatch(file.name)
        if found is not None and (found["part"] or found["name"] not in names):
            with suppress(OSError):
                file.unlink()


def _name_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _fetch(url: str, kept: Path, build: BuildSettings, authorities: Path | None) -> None:
    record = kept.with_name(f"{kept.name}.json")
    with requests.Session() as session:
        # No proxy, password or CA of this machine's environment.
        session.trust_env = False
        with session.get(
            url,
            headers={"User-Agent": f"retrofit/{__version__}", **_conditions(kept, record)},
            stream=True,
            timeout=TIMEOUT,
            proxies=_proxies(url, build),
            verify=True if authorities is None else str(authorities),
        ) as response:
            if _is_downgraded(response):
                raise AdvisoryError(f"{redacted(url)} redirects from https to http")
            if response.status_code == UNCHANGED:
                return
            if response.status_code != requests.codes.ok:
                raise AdvisoryError(
                    f"cannot fetch {redacted(url)}: the server answers {response.status_code}"
                )
            part = kept.with_name(f".{kept.name}.part")
            try:
                _receive(response, part, url)
                record.unlink(missing_ok=True)
                part.replace(kept)
            finally:
                part.unlink(missing_ok=True)
            said = Fetched(
                etag=response.headers.get("ETag"), modified=response.headers.get("Last-Modified")
            )
            record.write_text(said.model_dump_json())


def _conditions(kept: Path, record: Path) -> Mapping[str, str]:
    """Return the headers by which a server answers that nothing has changed."""
    try:
        said = Fetched.model_validate_json(record.read_bytes())
    except (OSError, ValueError):
        return {}
    if not kept.is_file():
        return {}
    if said.etag is not None:
        return {"If-None-Match": said.etag}
    return {} if said.modified is None else {"If-Modified-Since": said.modified}


def _proxies(url: str, build: BuildSettings) -> dict[str, str]:
    if build.no_proxy is not None and should_bypass_proxies(url, build.no_proxy):
        return {}
    proxies = {"http": build.http_proxy, "https": build.https_proxy}
    return {scheme: proxy for scheme, proxy in proxies.items() if proxy}


def _is_downgraded(response: requests.Response) -> bool:
    way = [each.url for each in (*response.history, response)]
    return way[0].startswith("https:") and not all(each.startswith("https:") for each in way)


def _receive(response: requests.Response, part: Path, url: str) -> None:
    """Write a body to a file, within limits of bytes and seconds."""
    until, size = time.monotonic() + LIMIT, 0
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        for block in read_body(response.raw, TIMEOUT, decode=True):
            size += len(block)
            if size > LARGEST:
                raise AdvisoryError(f"{redacted(url)} has more than {LARGEST >> 30} GiB")
            if time.monotonic() > until:
                raise AdvisoryError(f"{redacted(url)} cannot be fetched within {LIMIT:g} s")
            file.write(block)
    announced = response.headers.get("Content-Length", "")
    plain = "Content-Encoding" not in response.headers
    if plain and announced.isdigit() and int(announced) != size:
        raise AdvisoryError(f"{redacted(url)} was cut short: {size} of {announced} bytes")
