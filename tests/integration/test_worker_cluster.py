"""Several workers, one lock server, one Glance: who runs, who takes over, who must not write."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud import lock_servers
from tests.devcloud.lock_servers import LockServer, Wire
from tests.integration.harness import TAG, CloudHarness
from tests.integration.worker_site import RunningWorker, Site, eventually

LEASE = 6


@contextmanager
def served(kind: str, tmp_path: Path) -> Iterator[LockServer]:
    """Run a lock server."""
    directory = tmp_path / kind
    directory.mkdir()
    with getattr(lock_servers, kind)(directory) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LockServer]:
    with served("redis", tmp_path) as server:
        yield server


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[LockServer]:
    with served("etcd", tmp_path) as server:
        yield server


@dataclass(kw_only=True)
class Machine:
    """A worker with its own way to the lock server."""

    name: str
    site: Site
    wire: Wire
    stack: ExitStack
    worker: RunningWorker = field(init=False)
    ended: int = 0
    """Runs whose end was waited for."""

    def start(self) -> None:
        """Start the worker, which then has its first run."""
        self.ended = 0
        self.worker = self.stack.enter_context(self.site.worker())

    def next_end(self) -> dict[str, Any]:
        """Wait for the next end of a run."""
        self.ended += 1
        return self.worker.wait_for("run-once ended", count=self.ended)

    def run(self) -> dict[str, Any]:
        """Have it run now, and wait for the end."""
        self.worker.send(signal.SIGUSR1)
        return self.next_end()

    def run_until_its_turn(self) -> dict[str, Any]:
        """Have it run until nobody else holds the lock, and nothing is left to make up for."""
        while True:
            self.ended = len(self.worker.ended_runs())
            ended = self.run()
            if ended["outcomes"] != {"default": "locked"}:
                return ended


@pytest.fixture
def machine(harness: CloudHarness, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    publish = {"keep": 2, "retire_after": 0, "retire_after_unknown": 0}
    with ExitStack() as stack:

        def make(name: str, server: LockServer) -> Machine:
            wire = stack.enter_context(lock_servers.wire(server))
            lock = {"url": server.url(wire.port), "lease": LEASE}
            site = Site(
                root=tmp_path / name,
                config={"cloud": harness.cloud, "publish": publish, "lock": lock},
                builds=tmp_path / "builds",
            )
            return Machine(name=name, site=site, wire=wire, stack=stack)

        yield make


def versions(harness: CloudHarness) -> list[str | None]:
    images = harness.amphorae()
    assert {image.status for image in images} == {"active"}
    return sorted(image.property("source_version_name") for image in images)


@pytest.mark.slow
def test_who_is_cut_off_stops_and_another_takes_over(
    machine: Any, etcd: LockServer, harness: CloudHarness
) -> None:
    harness.source("20260911")
    one, two = machine("one", etcd), machine("two", etcd)
    one.site.gate.touch()
    one.start()
    eventually(lambda: one.site.recorded() == ["begun"], "a build", one.worker.log)
    two.start()
    busy = two.next_end()
    assert (busy["exit_code"], busy["outcomes"]) == (75, {"default": "locked"})
    one.wire.cut = True
    assert one.next_end()["exit_code"] == 75
    (report,) = one.site.reports()
    assert (report["outcome"], report["error"]["code"]) == ("failed", "lock-lost")
    assert one.site.recorded() == ["begun", "cleaned"]
    one.site.gate.unlink()
    assert two.run_until_its_turn()["outcomes"] == {"default": "published"}
    one.wire.cut = False
    assert one.run()["outcomes"] == {"default": "unchanged"}
    assert versions(harness) == ["20260911"]


def test_another_machine_takes_over_from_one_that_died(
    machine: Any, redis: LockServer, harness: CloudHarness
) -> None:
    harness.source("20260911")
    one, two = machine("one", redis), machine("two", redis)
    one.site.gate.touch()
    one.start()
    eventually(lambda: one.site.recorded() == ["begun"], "a build", one.worker.log)
    one.worker.power_off()
    one.site.gate.unlink()
    two.start()
    first = two.next_end()["outcomes"]
    if first == {"default": "locked"}:
        first = two.run_until_its_turn()["outcomes"]
    assert first == {"default": "published"}
    # The dead machine comes back, and finds what it left.
    one.start()
    assert one.next_end()["outcomes"] == {"default": "unchanged"}
    assert not [*one.site.work.glob("*/*")]
    assert versions(harness) == ["20260911"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_three_workers_keep_one_image_current_whoever_of_them_fails(
    machine: Any, tmp_path: Path, harness: CloudHarness, kind: str
) -> None:
    chance = random.Random(kind)  # noqa: S311  (the same rounds each time)
    with served(kind, tmp_path) as server:
        machines = [machine(name, server) for name in ("one", "two", "three")]
        harness.source("20260900")
        for each in machines:
            each.site.environment["BUILD_SECONDS"] = "5"
            each.start()
        for each in machines:
            each.next_end()
        machines[0].run_until_its_turn()
        with harness.polled() as seen:
            for number in range(1, 10):
                version = f"202609{number:02}"
                trouble = Trouble(
                    victim=chance.choice(machines),
                    way=chance.choice(["kill", "cut", "stop"]),
                    after=chance.uniform(1, 13),
                )
                harness.source(version)
                go_through(machines, trouble)
                print(version, trouble, *machines[0].site.record(), sep="\n  ")
                assert versions(harness)[-1:] == [version]
                assert len(versions(harness)) == len(set(versions(harness)))
                (tagged,) = harness.glance.list({"tag": [TAG]})
                assert tagged.property("source_version_name") == version
    assert None not in seen
    assert versions(harness) == ["20260908", "20260909"]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens to whom, and when."""

    victim: Machine
    way: str
    after: float

    def __str__(self) -> str:
        return f"{self.way} {self.victim.name} after {self.after:.1f} s"


def go_through(machines: list[Machine], trouble: Trouble) -> None:
    """Have all run at once while one is in trouble, and see that no two build at a time."""
    victim = trouble.victim
    (victim.site.builds / "record").unlink(missing_ok=True)
    for each in machines:
        each.worker.send(signal.SIGUSR1)
    time.sleep(trouble.after)
    if trouble.way == "cut":
        victim.wire.cut = True
    elif trouble.way == "kill":
        victim.worker.power_off()
        victim.site.say("died")
    else:
        assert victim.worker.end_by(signal.SIGTERM) == 0
    others = [each for each in machines if each is not victim]
    for each in others:
        each.next_end()
    outcomes = [each.run_until_its_turn()["outcomes"] for each in others]
    assert {"default": "failed"} not in outcomes
    if trouble.way == "cut":
        victim.next_end()
        victim.wire.cut = False
    else:
        victim.start()
    assert victim.run_until_its_turn()["outcomes"] == {"default": "unchanged"}
    building: str | None = None
    for entry in victim.site.record():
        what, name = entry.split()[:2]
        if what == "begun":
            assert building is None, f"{name} builds while {building} does"
            building = name
        elif building == name:
            building = None
