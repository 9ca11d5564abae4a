"""What is served: made in the background, so that no request waits for anything or costs much."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from retrofit.config import Settings, Target
from retrofit.errors import CloudError
from retrofit.runs.report_document import ErrorDocument
from retrofit.status import (
    CloudFacts,
    StatusDocument,
    look,
    status_document,
    undelivered,
)
from retrofit.status.cloud import ask
from retrofit.status.metrics import exposition
from scheduler.web.page import status_page

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks at this machine's own records."""
TOO_LATE = 120.0
"""Seconds after which a rendering counts as no longer renewed."""

LONG = 60.0
"""Seconds after which a cloud that is still being asked counts as one that does not answer."""

Ask = Callable[..., CloudFacts]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Everything that is served, of one moment; `made` is of the monotonic clock."""

    document: StatusDocument
    page: bytes
    json: bytes
    metrics: bytes
    made: float

    @classmethod
    def of(cls, document: StatusDocument) -> Rendering:
        """Render a document in all its forms."""
        return cls(
            document=document,
            page=status_page(document).encode(),
            json=json.dumps(document.as_dict(), indent=1).encode() + b"\n",
            metrics=exposition(document),
            made=time.monotonic(),
        )

    @property
    def is_late(self) -> bool:
        """Return True if a newer one should have replaced it long ago."""
        return time.monotonic() - self.made > TOO_LATE


class Snapshot:
    """Keeps the latest rendering; for the length of a `with` block it is renewed."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        ask: Ask = ask,
        changed: queue.SimpleQueue[str] | None = None,
    ) -> None:
        """Render what is known; `changed` has the names of targets to ask about at once."""
        self._settings = settings
        self._changed = changed if changed is not None else queue.SimpleQueue()
        self._ask = ask
        self._host = socket.gethostname()
        self._since = datetime.now(UTC)
        self._cloud: dict[str, CloudFacts] = {}
        self._asking: dict[str, threading.Thread] = {}
        self._asked_since: dict[str, float] = {}
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
            except Exception:  # the next round may succeed; `is_late` shows if none does
                log.exception("status page not renewed")
            self._ended.wait(LOOK_EVERY)

    def _rendered(self) -> Rendering:
        settings = self._settings()
        document = status_document(
            settings,
            self._known(),
            look(settings),
            now=datetime.now(UTC),
            host=self._host,
            since=self._since,
            undelivered=undelivered(settings),
        )
        return Rendering.of(document)

    def _known(self) -> dict[str, CloudFacts]:
        """Return what is known of each target, with the clouds that let this one wait."""
        known = dict(self._cloud)
        for name, asking in list(self._asking.items()):
            waiting = time.monotonic() - self._asked_since[name]
            if waiting > LONG and asking.is_alive():
                silent = ErrorDocument.of(CloudError(f"no whole answer in {waiting:.0f} seconds"))
                known[name] = replace(known.get(name, CloudFacts()), error=silent)
        return known

    def _ask_where_due(self) -> None:
        """Ask about each target in a thread of its own: a slow cloud holds up no other."""
        settings, now = self._settings(), time.monotonic()
        while not self._changed.empty():
            self._due[self._changed.get()] = 0
        for target in settings.targets:
            asking = self._asking.get(target.name)
            if now < self._due.get(target.name, 0) or (asking and asking.is_alive()):
                continue
            self._due[target.name] = now + settings.web.refresh
            self._asked_since[target.name] = now
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
            bug = ErrorDocument(message=f"{type(error).__name__}: {error}")
            self._cloud[target.name] = replace(before, error=bug)
