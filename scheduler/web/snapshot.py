"""What is served: made in the background, so that no request waits for anything or costs much."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import structlog

from retrofit.config import Settings, Target
from retrofit.metrics import exposition
from retrofit.overview import CloudFacts, ask, look, overview, waiting_letters
from scheduler.web.page import status_page

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks at this machine's own records."""
TOO_LATE = 120.0
"""Seconds after which what is served is said to be no longer renewed."""

Ask = Callable[..., CloudFacts]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Everything that is served, of one moment; `made` is of the monotonic clock."""

    document: Mapping[str, Any]
    page: bytes
    json: bytes
    metrics: bytes
    made: float

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Rendering:
        """Render a document in all its forms."""
        return cls(
            document=document,
            page=status_page(document).encode(),
            json=json.dumps(document, indent=1).encode() + b"\n",
            metrics=exposition(document),
            made=time.monotonic(),
        )

    @property
    def is_late(self) -> bool:
        """Say whether it should long have been replaced by a newer one."""
        return time.monotonic() - self.made > TOO_LATE


class Snapshot:
    """Keeps the latest rendering; for the length of a `with` block it is renewed."""

    def __init__(self, settings: Callable[[], Settings], *, ask: Ask = ask) -> None:
        self._settings = settings
        self._ask = ask
        self._host = socket.gethostname()
        self._since = datetime.now(UTC)
        self._cloud: dict[str, CloudFacts] = {}
        self._asking: dict[str, threading.Thread] = {}
        self._due: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="snapshot", daemon=True)
        self.latest = self._rendered()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # Threads that ask a cloud which does not answer end with the process: they change nothing.
        self._ended.set()
        self._thread.join(LOOK_EVERY)

    def _renew(self) -> None:
        while not self._ended.is_set():
            try:
                self._ask_where_due()
                self.latest = self._rendered()
            except Exception:  # the next round may succeed; `is_late` tells if none does
                log.exception("status page not renewed")
            self._ended.wait(LOOK_EVERY)

    def _rendered(self) -> Rendering:
        settings = self._settings()
        document = overview(
            settings,
            dict(self._cloud),
            look(settings),
            now=datetime.now(UTC),
            host=self._host,
            since=self._since,
            letters=waiting_letters(settings),
        )
        return Rendering.of(document)

    def _ask_where_due(self) -> None:
        """Ask about each target in a thread of its own: a slow cloud holds up no other."""
        settings, now = self._settings(), time.monotonic()
        for target in settings.targets:
            asking = self._asking.get(target.name)
            if now < self._due.get(target.name, 0) or (asking and asking.is_alive()):
                continue
            self._due[target.name] = now + settings.web.refresh
            self._asking[target.name] = threading.Thread(
                target=self._ask_about, args=(target, settings), name="asking", daemon=True
            )
            self._asking[target.name].start()

    def _ask_about(self, target: Target, settings: Settings) -> None:
        try:
            self._cloud[target.name] = self._ask(
                target, settings, before=self._cloud.get(target.name)
            )
        except Exception as error:
            log.exception("cloud not asked", target=target.name)
            before = self._cloud.get(target.name, CloudFacts())
            said = {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": None}
            self._cloud[target.name] = CloudFacts(**{**vars(before), "error": said})
