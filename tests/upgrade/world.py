"""A cloud and a machine's directories as release 0.1.0 itself leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import Settings
from retrofit.config.renamed import CHANGES
from scheduler.jobs import jobs_for
from scheduler.last_runs import last_runs
from tests.integration.harness import CloudHarness, days_ago
from tests.integration.worker_site import eventually
from tests.upgrade.release import Release

TARGETS = ("rolled", "halfway", "unfinished", "paused", "failing", "aged", "empty")
TAGS = {name: f"octavia-amphora-{name}" for name in TARGETS}
VERSIONS = {"1": "20260901", "2": "20260908", "3": "20260915"}
KILLED = 137
PATIENCE = 300
"""Seconds that a command of 0.1.0 may take."""
REASON = "the change freeze, until the auditors have left"
BUILD_ERROR = "the mirror of packages answered 404"


def settings_of_0_1_0(webhook: str) -> dict[str, dict[str, Any]]:
    """Return what the machine's configuration has besides its cloud and paths."""
    return {
        "publish": {"keep": 3, "retire_after": 0, "retire_unasked_after": 0, "adopt": False},
        "octavia": {"ask": "never"},
        "build": {"retry_after": 600, "retry_at_most": 1440},
        "notify": {
            "url": webhook,
            "retries": 0,
            "timeout": 5,
            "events": ["published", "failed", "recovered", "too_old"],
            "too_old": 60,
        },
        "schedule": {"interval": 6 * 3600},
        "verify": {"level": "offline"},
        **{f"target.{name}.publish": {"tag": tag} for name, tag in TAGS.items()},
    }


def settings_of_today(
    before: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Rename what the table of changes names, and ask of images what 0.1.0 asked.

    Its images were not booted, which is less than the default of today: they would be replaced,
    each once, whatever else a test is about.
    """
    after = {section: dict(values) for section, values in before.items()}
    for change in CHANGES:
        section, key = change.setting.split(".")
        if key not in after.get(section, {}):
            continue
        if change.value is None:
            value = after[section].pop(key)
            if change.now is not None:
                new_section, new_key = change.now.split(".")
                after.setdefault(new_section, {})[new_key] = value
        else:
            after[section][key] = [
                change.now if each == change.value else each for each in after[section][key]
            ]
    after.setdefault("verify", {}).setdefault("level", "offline")
    return after


@dataclass(kw_only=True)
class OldMachine:
    """Release 0.1.0 on the machine of `harness`, with the configuration that it understands."""

    release: Release
    harness: CloudHarness
    config: Path
    builds: int = 0
    """How many builds it has made."""
    _process: subprocess.Popen[str] | None = None

    def give(self, *words: str, exit_code: int = 0, build_error: str | None = None) -> Any:
        """Give a command, and return the document that it prints.

        `build_error` is why its builds fail.
        """
        command: dict[str, Any] = {"words": [*words, "-o", "json"]}
        if build_error is not None:
            command["build_error"] = build_error
        answer = self._answer(command)
        assert answer["exit_code"] == exit_code, answer
        assert "Traceback" not in answer["stderr"], answer["stderr"]
        self.builds += answer["builds"]
        return json.loads(answer["stdout"])

    def killed(self, *words: str, after: int) -> None:
        """Give a command, whose process is gone after so many writes to Glance."""
        with pytest.raises(EOFError):
            self._answer({"words": words, "dies_after": after})
        assert self._process is not None
        assert self._process.wait(PATIENCE) == KILLED
        self._process = None

    def end(self) -> None:
        """End the process that takes the commands."""
        if self._process is not None:
            self._process.communicate(timeout=PATIENCE)
            self._process = None

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            driver = Path(__file__).with_name("drive_0_1_0.py")
            self._process = subprocess.Popen(
                [self.release.python, driver, self.config],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(command), file=process.stdin, flush=True)
        end = threading.Timer(PATIENCE, process.kill)
        end.start()
        line = process.stdout.readline()
        end.cancel()
        if not line:
            raise EOFError(command)
        return dict(json.loads(line))

    @contextmanager
    def worker(self) -> Iterator[dict[str, Any]]:
        """Run its worker until it has a timetable; the block's end is that of a machine's power."""
        log = self.harness.directory / "worker-0.1.0.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [self.release.python, "-m", "tests.integration.worker_site", "worker", self.config],
                cwd=self.release.source,
                env={**os.environ, "BUILDS": str(self.harness.directory), "MACHINE": "old"},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        timetable = self.harness.path("state") / "schedule.json"
        try:
            yield dict(
                eventually(
                    lambda: timetable.exists() and json.loads(timetable.read_text()),
                    "timetable of 0.1.0",
                    log,
                )
            )
        finally:
            process.kill()
            process.wait()


@dataclass(kw_only=True)
class World:
    """What there is, and what 0.1.0 reported of it last."""

    machine: OldMachine
    ids: dict[str, str] = field(default_factory=dict)
    """Images by target and number of the source version, such as `rolled 3`."""
    images: dict[str, Any] = field(default_factory=dict)
    """All of Glance."""
    history: list[dict[str, Any]] = field(default_factory=list)
    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    pauses: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Notifications that could not be delivered."""
    next_runs: dict[str, str] = field(default_factory=dict)
    """When its worker would have run each target next."""
    next_runs_now: dict[str, str] = field(default_factory=dict)
    """The same by the worker of today, at the same moment."""


def made_by_0_1_0(machine: OldMachine, today: Settings) -> World:
    """Have 0.1.0 make images in every state, records of every kind, and queued notifications.

    `today` is this version's configuration of the same machine.
    """
    world, harness = World(machine=machine), machine.harness
    harness.source(VERSIONS["1"])
    _publish(world, "1", "rolled", "halfway", "unfinished", "paused", "failing")
    harness.source(VERSIONS["2"])
    _publish(world, "2", "rolled")
    harness.source(VERSIONS["3"])
    _publish(world, "3", "rolled", "aged")
    harness.rows.set_created(world.ids["aged 3"], days_ago(90))
    _spoil(world)
    _ask(world)
    with machine.worker() as timetable:
        world.next_runs = {name: entry["next_run"] for name, entry in timetable["targets"].items()}
    world.next_runs_now = _next_runs(today)
    # The last that it does: what died is newer than all that it could have recorded.
    machine.killed(*run("unfinished"), after=1)
    machine.killed(*run("halfway"), after=3)
    world.images = harness.everything()
    world.ids |= {
        f"{image['retrofit_target']} 3": image["id"]
        for image in world.images.values()
        if image.get("retrofit_target") in {"unfinished", "halfway"}
        and image["source_version_name"] == VERSIONS["3"]
    }
    return world


def run(*names: str) -> tuple[str, ...]:
    """Return the words of a run of these targets."""
    return ("--target", ",".join(names), "run-once")


def reports_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reports that a run printed, of one target or of several."""
    return list(document.get("runs", [document]))


def _publish(world: World, number: str, *names: str) -> None:
    # Glance's times are whole seconds: of two images of one, an id decides which is the newer.
    time.sleep(1.0)
    for report in reports_of(world.machine.give(*run(*names))):
        assert report["outcome"] == "published"
        world.ids[f"{report['target']} {number}"] = report["image_id"]


def _spoil(world: World) -> None:
    """Roll back, fail twice, find an image too old, and pause."""
    give = world.machine.give
    give("--target", "rolled", "rollback", "--yes")
    give(*run("failing"), exit_code=5, build_error=BUILD_ERROR)
    give(*run("failing"), exit_code=5)
    give(*run("aged"))
    paused = give("--target", "paused,empty", "pause", "--reason", REASON)
    world.pauses = {each["target"]: each["paused"] for each in paused["targets"]}
    give(*run("paused", "empty"))


def _ask(world: World) -> None:
    """Note what 0.1.0 itself reports of all that."""
    give = world.machine.give
    world.history = give("history", "-n", "1000")
    world.status = {each["target"]: each for each in give("status")["targets"]}
    world.waiting = give("notify")["waiting"]


def _next_runs(settings: Settings) -> dict[str, str]:
    """Return when a worker of this version that starts now runs each target first."""
    before, now = last_runs(settings), datetime.now(UTC)
    return {
        target: job.first_run(before, now).isoformat(timespec="seconds")
        for job in jobs_for(settings)
        for target in job.targets
    }
