"""The worker's look at what Octavia finds: without an image it repairs at once, beside all runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from retrofit.config import Settings, Target
from retrofit.errors import RetrofitError
from retrofit.system.threads import in_background

if TYPE_CHECKING:
    from retrofit.operations.repair import Sighting, Watcher

log = structlog.get_logger(__name__)

TICK = 1.0
"""Seconds between two looks at the clock."""
FIRST_WAIT = 60.0
LONGEST_WAIT = 900.0
"""Seconds between two attempts of one repair: they double from the first to the longest."""

Repair = Callable[[str], Mapping[str, str]]
"""Repairs the target of a name, and returns the outcome by target."""


@dataclass
class _Watched:
    """One target: when it is looked at next, and what is done about a missing image."""

    settings: Settings
    watcher: Watcher
    due: float = 0.0
    missing: bool = False
    attempt_at: float = 0.0
    wait: float = FIRST_WAIT
    thread: threading.Thread | None = None


@dataclass
class Watch:
    """Looks at all targets, each in a thread of its own: a slow cloud holds up no other.

    `repair` promotes an image that is there, `run` asks for a run of a target: both are called
    where Octavia finds no image. `changed` gets the name of a target whose image came or went.
    """

    settings: Callable[[], Settings]
    repair: Repair
    run: Callable[[str], None]
    changed: queue.SimpleQueue[str]
    _watched: dict[str, _Watched] = field(default_factory=dict)

    def look_where_due(self) -> None:
        """Begin the looks that are due."""
        settings, now = self.settings(), time.monotonic()
        for target in settings.targets:
            watched = self._of(target, settings)
            if now < watched.due or (watched.thread is not None and watched.thread.is_alive()):
                continue
            watched.due = now + settings.worker.watch_interval
            watched.thread = threading.Thread(
                target=self._look, args=(target.name, watched), name="watch", daemon=True
            )
            watched.thread.start()

    def _of(self, target: Target, settings: Settings) -> _Watched:
        """Return what is known of a target; a configuration that was read again begins anew."""
        known = self._watched.get(target.name)
        if known is not None and known.settings is settings:
            return known
        # The OpenStack libraries take memory, and a second: only where they are used.
        from retrofit.operations.repair import Watcher  # noqa: PLC0415

        fresh = _Watched(settings=settings, watcher=Watcher(target, settings))
        if known is not None:
            fresh.missing, fresh.thread = known.missing, known.thread
        self._watched[target.name] = fresh
        return fresh

    def _look(self, name: str, watched: _Watched) -> None:
        with structlog.contextvars.bound_contextvars(target=name):
            try:
                sighting = watched.watcher.look()
                self._act(name, watched, sighting)
            except RetrofitError as error:  # the page and the runs report that as well
                log.info("not looked at", reason=error.message)
            except Exception:
                log.exception("not looked at")

    def _act(self, name: str, watched: _Watched, sighting: Sighting) -> None:
        missing = sighting.missing is not None
        if missing != watched.missing:
            watched.missing = missing
            watched.wait, watched.attempt_at = FIRST_WAIT, 0.0
            self.changed.put(name)
            if missing:
                log.error("no image promoted", reason=sighting.missing, paused=sighting.paused)
            else:
                log.info("image promoted again", image_id=sighting.image_id)
        if not missing or sighting.paused or time.monotonic() < watched.attempt_at:
            return
        outcome = "" if sighting.candidate is None else self.repair(name).get(name, "")
        if outcome not in {"promoted", "unchanged"}:
            log.info("run requested, as no image can be promoted by itself")
            self.run(name)
        watched.attempt_at = time.monotonic() + watched.wait
        watched.wait = min(2 * watched.wait, LONGEST_WAIT)
        watched.due = 0.0  # what came of it is seen at once


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Look for the length of the block. A look that is under way ends with the process."""

    def go_on(ended: threading.Event) -> None:
        while not ended.wait(TICK):
            try:
                watch.look_where_due()
            except Exception:  # the next round may succeed
                log.exception("targets not looked at")

    with in_background(go_on, name="watch"):
        yield
