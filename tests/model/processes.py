"""Processes of retrofit in a world of tests: the real code, and all around it in memory.

A process may begin while another one is between two of its calls: those are the interleavings of
machines that have no common lock. What a process sees of its machine (clock, host name, locks,
Glance) is that of the innermost one.
"""

from __future__ import annotations

import io
import itertools
import os
import socket
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

import structlog

from retrofit import runner
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.cloud import Glance, octavia, octavia_errors
from retrofit.errors import LockedError
from retrofit.lock import lock
from retrofit.model import BuiltImage, Usage, Verdict
from retrofit.observe.target import take_inventory
from retrofit.produce.preflight import require
from retrofit.publish import upload
from retrofit.verify.request import VerifyRequest
from tests.built import built_image, verdict_at
from tests.model.installations import Installation, Site, known_recipe
from tests.model.lagging import ObservedGlance, ObservedWorld, VolumeBacked
from tests.model.memory_glance import Fault, KilledError


def _evidence() -> bytes:
    """What the elements leave of an image with one package."""
    written, status = io.BytesIO(), b"Package: haproxy\nStatus: install ok installed\n"
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo("./var/lib/dpkg/status")
        member.size = len(status)
        archive.addfile(member, io.BytesIO(status))
    return written.getvalue()


EVIDENCE = _evidence()


@dataclass(eq=False)
class Process:
    """One process of retrofit: `action` is the command, `changes` what it did to images."""

    installation: Installation
    site: Site
    action: str
    glance: ObservedGlance
    began: int
    """Which event of the world it began with."""
    changes: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    """Images that it created: it may take them back."""
    looked_at: int = -1
    """Which event of the world its last inventory began with."""
    stood: set[str] = field(default_factory=set)
    """Images that Octavia could take when it began."""
    stood_first: str | None = None
    """The installation's image that Octavia could take first when it began, if it was whole."""
    usage: Usage | None = None
    """What Octavia answered when it was asked last."""
    running: frozenset[str] = frozenset()
    """What amphorae ran on at that moment."""
    held_up_by: Process | None = None
    """Who had the lock that it wanted."""
    built_from: list[bytes] = field(default_factory=list)
    result: Any = None


class Processes:
    """All that run at the moment, the innermost last."""

    def __init__(self, world: ObservedWorld, witness: Any) -> None:
        self.world = world
        self.witness = witness
        self.stack: list[Process] = []
        self._locks: dict[tuple[str, ...], Process] = {}
        self._serials = itertools.count(1)

    @property
    def current(self) -> Process:
        """Return the process whose code runs now."""
        return self.stack[-1]

    def is_alive(self, process: Process) -> bool:
        """Return True if a process has not ended."""
        return process in self.stack

    def run(
        self,
        installation: Installation,
        site: Site,
        action: str,
        work: Callable[[Process], Any],
        *,
        others: Callable[[int], None] = lambda _: None,
        fault: Fault | None = None,
    ) -> Process:
        """Run `work` as a process of its own; its `result` is None when it was killed."""
        glance = ObservedGlance(self.world, clock=lambda: site.clock, others=others, fault=fault)
        process = Process(
            installation=installation,
            site=site,
            action=action,
            glance=glance,
            began=self.world.events,
        )
        glance.watch(lambda what, before, after: self.witness.saw(process, what, before, after))
        self.witness.begins(process)
        self.stack.append(process)
        try:
            process.result = work(process)
        except KilledError:
            pass
        finally:
            self.stack.pop()
        self.witness.ends(process)
        return process

    def build(self, request: BuildRequest) -> BuiltImage:
        """Build in no time an image of bytes that no other one has."""
        self.current.built_from.append(request.source.read_bytes())
        self.world.now += timedelta(minutes=7)
        request.work_dir.mkdir(parents=True)
        path = request.work_dir / "amphora.qcow2"
        path.write_text(f"amphora {next(self._serials)}")
        evidence = request.work_dir / "evidence.tar"
        evidence.write_bytes(EVIDENCE)
        return built_image(path, evidence=evidence)

    def verify(self, request: VerifyRequest) -> Verdict:
        """Find an image good, at the level that is configured."""
        return verdict_at(request.settings.level)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put this world in the place of the real one, wherever the code reads it."""
        world, processes = self.world, self

        class Anywhen(type):
            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, datetime)

        class Clock(datetime, metaclass=Anywhen):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
                return world.now + processes.current.site.clock

        def look(target: Any, glance: Any, *more: Any, **named: Any) -> Any:
            processes.current.looked_at = world.events
            return take_inventory(target, glance, *more, **named)

        def sleep(seconds: float) -> None:
            world.now += timedelta(seconds=seconds)

        replaced: list[tuple[Any, Any]] = [
            (datetime, Clock),
            (take_inventory, look),
            (octavia.usage, self._usage),
            (recipe_for, lambda build, *_, **__: known_recipe(build.packages)),
            (upload.new_id, world.new_id),
            (time.sleep, sleep),
        ]
        with ExitStack() as stack:
            for original, substitute in replaced:
                for module, name in _places_of(original):
                    stack.enter_context(patch.object(module, name, substitute))
            patches: tuple[AbstractContextManager[Any], ...] = (
                patch.object(Glance, "connect", lambda _settings: processes.current.glance),
                # Takes processes and namespaces; tests of its own look at what it finds.
                patch.object(require, "tries_of_a_build", lambda *_: ([], [])),
                patch.object(lock, "_held_here", self._held_here),
                patch.object(lock, "shared_lock", self._shared_lock),
                patch.object(socket, "gethostname", lambda: processes.current.site.host),
                patch.object(time, "sleep", sleep),
                # What a machine writes down of its runs has tests of its own, and takes most of
                # the time; no run reads it. Nor is a power cut tried here.
                patch.object(runner, "write_report", lambda _report: None),
                patch.object(runner, "prune", lambda _logs, **_: None),
                patch.object(runner, "record_end_of_run", lambda _report, _settings: None),
                patch.object(runner, "events_kept", lambda _directory: nullcontext()),
                patch.object(os, "fsync", lambda _descriptor: None),
            )
            for each in patches:
                stack.enter_context(each)
            stack.enter_context(structlog.testing.capture_logs())
            yield

    def _usage(self, target: Any) -> Usage:
        process, world = self.current, self.world
        if target.octavia.query == "never":
            answer = Usage(unknown="octavia.query is never")
        elif not world.octavia_answers and target.octavia.query == "require":
            process.usage = None
            raise octavia_errors.OctaviaError("list amphorae", "Octavia is down", hint="start it")
        else:
            answer = world.usage()
        process.usage = answer
        process.running = frozenset(
            each.image_id
            for each in world.machines.values()
            if answer.unknown is None and not isinstance(each, VolumeBacked)
        )
        return answer

    @contextmanager
    def _held_here(self, state_dir: Any, *names: Any, **_: Any) -> Iterator[None]:
        with self._locked("file", str(state_dir), *map(str, names)):
            yield

    @contextmanager
    def _shared_lock(
        self, url: str, _lease: int, names: Sequence[bytes], **_: Any
    ) -> Iterator[Any]:
        with ExitStack() as held:
            for name in names:
                held.enter_context(self._locked("server", url, name.decode()))
            yield lock.LocalLock()

    @contextmanager
    def _locked(self, *name: str) -> Iterator[None]:
        holder = self._locks.get(name)
        if holder is not None:
            self.current.held_up_by = holder
            raise LockedError(f"another run holds {' '.join(name)}")
        self._locks[name] = self.current
        try:
            yield
        finally:
            del self._locks[name]


@cache
def _places_of(original: Any) -> list[tuple[Any, str]]:
    """Return where modules of retrofit have a class or function of that name and identity."""
    return [
        (module, name)
        for key, module in sorted(sys.modules.items())
        if key.startswith("retrofit.")
        for name, value in vars(module).items()
        if value is original
    ]
