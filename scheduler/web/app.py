"""Requests in, answers out: GET and HEAD of a few fixed addresses, and of runs' log files."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from retrofit.config import Settings
from retrofit.runs.directory import REPORT, read_report
from retrofit.status.metrics import CONTENT_TYPE as METRICS
from retrofit.status.models import json_schema
from retrofit.system.own_directory import RUN_ID
from retrofit.times import iso
from scheduler.web.page import run_page
from scheduler.web.snapshot import Rendering

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
RUN = re.compile(rf"/runs/({RUN_ID})/?")
LOG_FILE = re.compile(rf"/runs/({RUN_ID})/([A-Za-z0-9][A-Za-z0-9._+-]*)")
UNMASKED = "build.log"
"""The output of a build's programs as they print it: credentials are masked at its end."""
LARGEST_LOG = 64 * 1024 * 1024
"""Bytes of a log file that are served: the last ones of a longer file."""
STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
HEADERS = {
    # Nothing but our own style and icon: no script, no font, no frame, no request to elsewhere.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
RELOAD = {"Refresh": "60"}
"""Lets a browser load a page again after so many seconds, without a script."""
STILL = "still"
"""The query of the page that stays as it is."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request gets; `file` is sent in place of `body`, `length` bytes of it."""

    status: str = "200 OK"
    kind: str = TEXT
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    file: BinaryIO | None = None
    length: int | None = None


class Latest(Protocol):
    """What has the latest rendering."""

    @property
    def latest(self) -> Rendering:
        """Return it."""


class Application:
    """A WSGI application over the latest snapshot."""

    def __init__(self, snapshot: Latest, settings: Callable[[], Settings]) -> None:
        self._snapshot = snapshot
        self._settings = settings
        files = resources.files("scheduler.web") / "static"
        self._static = {name: (files / name).read_bytes() for name in STATIC}
        self._schema = json.dumps(json_schema(), indent=1).encode() + b"\n"

    def __call__(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        length = len(answer.body) if answer.length is None else answer.length
        headers = {
            **HEADERS,
            "Content-Type": answer.kind,
            "Content-Length": str(length),
            **answer.headers,
        }
        start(answer.status, list(headers.items()))
        if environ["REQUEST_METHOD"] == "HEAD":
            if answer.file is not None:
                answer.file.close()
            return []
        if answer.file is not None:
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](answer.file)
            return wrapped
        return [answer.body]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        if not is_own_name(str(environ.get("HTTP_HOST", "")), self._settings()):
            # A page elsewhere whose name was made to lead here must not read us.
            return Answer(status="421 Misdirected Request", body=b"not a name of this page\n")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return Answer(
                status="405 Method Not Allowed",
                body=b"there is nothing to change here\n",
                headers={"Allow": "GET, HEAD"},
            )
        path, latest = str(environ.get("PATH_INFO") or "/"), self._snapshot.latest
        match path:
            case "/":
                # Whoever reads on, or listens to the page, can have it stand still.
                stands = environ.get("QUERY_STRING") == STILL
                return Answer(kind=HTML, body=latest.page, headers={} if stands else RELOAD)
            case "/api/v2/status":
                return Answer(kind=JSON, body=latest.json)
            case "/metrics":
                return Answer(kind=METRICS, body=latest.metrics)
            case "/api/v2/schema":
                return Answer(kind=JSON, body=self._schema)
            case "/healthz":
                return self._health()
            case "/livez":
                return self._life()
        if path == "/api/v1" or path.startswith("/api/v1/"):
            return _gone(path)
        if path.startswith("/static/") and path.removeprefix("/static/") in STATIC:
            name = path.removeprefix("/static/")
            return Answer(kind=STATIC[name], body=self._static[name])
        return self._of_runs(path, environ)

    def _health(self) -> Answer:
        latest = self._snapshot.latest
        health = latest.document.health
        if latest.is_late:
            late = f"nothing new is known since {iso(latest.document.generated_at)}"
            reasons = (*health.reasons, late)
            health = health.model_copy(update={"healthy": False, "reasons": reasons})
        return Answer(
            status="200 OK" if health.healthy else "503 Service Unavailable",
            kind=JSON,
            body=json.dumps(health.as_dict(), indent=1).encode() + b"\n",
        )

    def _life(self) -> Answer:
        """Answer 200 while the page is renewed: whatever the targets lack, this worker mends it.

        A probe that ends the process for what `/healthz` reports would end the repair.
        """
        alive = not self._snapshot.latest.is_late
        return Answer(
            status="200 OK" if alive else "503 Service Unavailable",
            kind=JSON,
            body=json.dumps({"alive": alive}, indent=1).encode() + b"\n",
        )

    def _of_runs(self, path: str, environ: Mapping[str, Any]) -> Answer:
        settings = self._settings()
        missing = Answer(status="404 Not Found", body=b"there is nothing here\n")
        if not settings.web.logs:
            return missing
        if match := RUN.fullmatch(path):
            directory = settings.paths.logs / match[1]
            if not directory.is_dir() or directory.is_symlink():
                return missing
            report = read_report(directory) if _size(directory / REPORT) < LARGEST_LOG else None
            page = run_page(match[1], report, self._files(directory))
            goes_on = report is None and environ.get("QUERY_STRING") != STILL
            return Answer(kind=HTML, body=page.encode(), headers=RELOAD if goes_on else {})
        if match := LOG_FILE.fullmatch(path):
            return _log_file(settings.paths.logs / match[1], match[2]) or missing
        return missing

    @staticmethod
    def _files(directory: Path) -> list[tuple[str, int]]:
        with os.scandir(directory) as entries:
            return sorted(
                (each.name, each.stat(follow_symlinks=False).st_size)
                for each in entries
                if each.is_file(follow_symlinks=False) and _may_be_shown(directory, each.name)
            )


def _gone(path: str) -> Answer:
    """Refer a client of the document's first version to the second."""
    now = "/api/v2/schema" if path == "/api/v1/schema" else "/api/v2/status"
    error = {"error": f"version 1 of the status document is gone: see {now}", "path": now}
    return Answer(status="410 Gone", kind=JSON, body=json.dumps(error, indent=1).encode() + b"\n")


def is_own_name(host: str, settings: Settings) -> bool:
    """Return True if a Host header names us; any name does where we listen to other machines."""
    web = settings.web
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    name = name.strip("[]").rstrip(".").lower()
    own = {each.lower() for each in web.hosts} | {web.address}
    if ipaddress.ip_address(web.address).is_loopback:
        return name in own | LOCAL_NAMES
    return not web.hosts or name in own | LOCAL_NAMES


def _log_file(directory: Path, name: str) -> Answer | None:
    """Open a regular file of a run's directory as text; None for what is no such file."""
    if not _may_be_shown(directory, name):
        return None
    try:
        within = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    except OSError:
        return None
    finally:
        os.close(within)
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode):
        os.close(opened)
        return None
    file = os.fdopen(opened, "rb")
    skipped = max(0, status.st_size - LARGEST_LOG)
    file.seek(skipped)
    # A log that is being written grows: what is announced is what is there now.
    return Answer(
        kind=TEXT,
        file=file,
        length=status.st_size - skipped,
        headers={"Content-Security-Policy": "default-src 'none'; sandbox"},
    )


def _may_be_shown(directory: Path, name: str) -> bool:
    # A run leaves its report last of all; one that was killed leaves none.
    return name != UNMASKED or (directory / REPORT).is_file()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
