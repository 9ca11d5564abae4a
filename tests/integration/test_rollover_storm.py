"""A night of rollovers: two machines, kills, errors, deletions, others' failovers, a promotion.

Counted before octavia-api: no load balancer fails over twice for one image, never more than
`at_a_time` at once, nothing after a doubt. The whole matrix has 200 load balancers.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Front, Handler
from tests.devcloud.lock_servers import redis
from tests.integration.harness import TAG, CloudHarness
from tests.integration.rollover_site import RolloverSite, rollover_site
from tests.thoroughness import LOAD_BALANCERS

AT_A_TIME = 2
KILLS = LOAD_BALANCERS // 4
LEASE = 10
"""Seconds after which another machine takes the lock of one that was killed."""
MINUTES = 6 + LOAD_BALANCERS // 4
RETROFIT = ("-m", "retrofit")


@dataclass(kw_only=True)
class Storm:
    """What happens to failovers on their way to Octavia, and what is counted there."""

    site: RolloverSite
    chance: random.Random
    error: str | None = None
    stuck: str | None = None
    deleted: str | None = None
    gone: str | None = None
    by_others: str | None = None
    promote_at: str | None = None
    images: list[str] = field(default_factory=list)
    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failovers that Octavia accepted, by load balancer and the image promoted then."""
    most_at_once: int = 0
    retried: set[str] = field(default_factory=set)
    """What an operator mended: it is asked once more for the same image."""
    after_doubt: list[str] = field(default_factory=list)
    doubt: bool = False
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def meet(self, handler: Handler) -> bool:
        """Count a failover, and let happen to it what is to happen."""
        asked = handler.asked
        if asked.method != "PUT" or not asked.path.endswith("/failover"):
            return False
        with self._mutex:
            return self._meet(handler, asked.path.split("/")[-2])

    def _meet(self, handler: Handler, load_balancer: str) -> bool:
        octavia = self.site.octavia
        if self.doubt:
            self.after_doubt.append(load_balancer)
        pending = self._pending()
        if load_balancer == self.deleted:
            self.deleted, self.gone = None, load_balancer
            octavia.set_status(load_balancer, provisioning_status="DELETED")
            return False
        if load_balancer == self.by_others:
            self.by_others = None
            url = f"{octavia.url}/v2/octavia/amphorae"
            found = octavia.admin.get(f"{url}?loadbalancer_id={load_balancer}").json()["amphorae"]
            octavia.admin.put(f"{url}/{found[0]['id']}/failover")
            return False
        self.accepted[load_balancer, self.images[-1]] += load_balancer not in pending
        self.most_at_once = max(self.most_at_once, len(pending | {load_balancer}))
        if load_balancer == self.promote_at:
            self.promote_at = None
            self.images.append(self.site.harness.promoted("20260912"))
            self.site.harness.client.image_tags.delete(self.images[-2], TAG)
            return False
        for trouble, status in (("error", "ERROR"), ("stuck", "PENDING_UPDATE")):
            if load_balancer == getattr(self, trouble):
                setattr(self, trouble, None)
                octavia.set_status(load_balancer, provisioning_status=status)
                # What was in the air before is followed; nothing new may begin.
                self.doubt = trouble == "error"
                handler.answer(202)
                return True
        return False

    def twice(self) -> set[tuple[str, str]]:
        """What failed over more than once for one image."""
        with self._mutex:
            return {key for key, times in self.accepted.items() if times > 1}

    def judged(self) -> None:
        """Fail where anything has happened that must not."""
        assert not self.after_doubt, "failovers after a doubt"
        twice = {each for each in self.twice() if each[0] not in self.retried}
        assert twice == set(), "moved twice"
        assert self.most_at_once <= AT_A_TIME, "more at once"

    def _pending(self) -> set[str]:
        url = f"{self.site.octavia.url}/v2/lbaas/loadbalancers?provisioning_status=PENDING_UPDATE"
        return {
            str(each["id"]) for each in self.site.octavia.admin.get(url).json()["loadbalancers"]
        }


@dataclass(kw_only=True)
class Machine:
    """A machine that rolls over again and again, as by its timer, and is killed now and then."""

    config: Path
    program: tuple[str, ...] = RETROFIT
    process: subprocess.Popen[bytes] | None = None
    ended: list[int] = field(default_factory=list)

    def go_on(self) -> int | None:
        """Start a rollover where none runs; the exit code of one that has ended since."""
        code = None if self.process is None else self.process.poll()
        if self.process is not None and code is None:
            return None
        if code is not None:
            self.ended.append(code)
        words = [*self.program, "--config", str(self.config), "rollover", "--yes"]
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return code

    def kill(self) -> None:
        """Kill it as a power cut does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def machines(harness: CloudHarness, program: tuple[str, ...]) -> Iterator[list[Machine]]:
    found = []
    for name in ("a", "b"):
        harness.machine = name
        found.append(Machine(config=harness.config, program=program))
    try:
        yield found
    finally:
        for each in found:
            each.kill()


@pytest.fixture
def storm(
    harness: CloudHarness, devcloud: Devcloud, tmp_path: Path
) -> Iterator[tuple[RolloverSite, Storm]]:
    with rollover_site(devcloud, harness) as site, redis(tmp_path) as server:
        site.settings(at_a_time=AT_A_TIME, settle_timeout=30)
        harness.toml += f'[lock]\nurl = "{server.url()}"\nlease = {LEASE}\n'
        yield site, _brewed(site, site.front)


def _brewed(site: RolloverSite, front: Front) -> Storm:
    older = site.promote("20260801", days=5)
    site.build(LOAD_BALANCERS * 3 // 5, LOAD_BALANCERS * 2 // 5)
    site.load_balancers |= _with_another_tag(site)
    newer = site.promote("20260911")
    chance = random.Random(5)  # noqa: S311  (no secret)
    pairs = [each for name, each in sorted(site.load_balancers.items()) if name.startswith("pair")]
    # Pairs come first: after the error there is enough left that must not begin.
    error = chance.choice(pairs)
    others = {error, site.load_balancers["tagged"]}
    chosen = chance.sample(
        [each for _, each in sorted(site.load_balancers.items()) if each not in others], 4
    )
    storm = Storm(
        site=site,
        chance=chance,
        error=error,
        stuck=chosen[0],
        deleted=chosen[1],
        by_others=chosen[2],
        promote_at=chosen[3],
        images=[older, newer],
    )
    front.meet = storm.meet
    return storm


def _with_another_tag(site: RolloverSite) -> dict[str, str]:
    """A load balancer whose flavor starts another image."""
    site.harness.foreign(tags=["other-tag"])
    flavor = site.octavia.create_flavor("tagged", '{"amp_image_tag": "other-tag"}')
    made = site.octavia.create_load_balancers({"tagged": {"flavor_id": flavor}})
    return dict(made)


def test_two_machines_and_a_bad_night(storm: tuple[RolloverSite, Storm]) -> None:
    night(*storm)


@pytest.mark.slow
@pytest.mark.parametrize("safeguard", ["lock", "halt"])
def test_without_a_safeguard_the_night_goes_wrong(
    storm: tuple[RolloverSite, Storm], safeguard: str
) -> None:
    with pytest.raises(AssertionError, match=r"more at once|after a doubt|twice"):
        night(*storm, program=("-m", "tests.integration.rollover_without", safeguard))


def night(site: RolloverSite, weather: Storm, *, program: tuple[str, ...] = RETROFIT) -> None:
    """Have two machines roll over until all is moved, and judge what came of it."""
    resumes, kills = 0, 0
    deadline = time.monotonic() + 60 * MINUTES
    with machines(site.harness, program) as both:
        next_kill = time.monotonic() + weather.chance.uniform(8, 20)
        while time.monotonic() < deadline:
            weather.judged()
            codes = {each.go_on() for each in both}
            assert not (weather.doubt and 0 in codes), "complete after a doubt"
            if 8 in codes:
                for each in both:
                    if each.process is not None:
                        each.process.wait()
                _mended(site, weather)
                _resume(both[0])
                resumes += 1
            if 0 in codes and _is_complete(site, weather):
                break
            if kills < KILLS and time.monotonic() > next_kill:
                weather.chance.choice(both).kill()
                kills += 1
                next_kill = time.monotonic() + weather.chance.uniform(8, 25)
            time.sleep(0.2)
    twice = weather.twice()
    print(
        f"\nload balancers {len(site.load_balancers)}, failovers accepted"
        f" {weather.accepted.total()}, twice for one image {len(twice)}, most at once"
        f" {weather.most_at_once}, kills {kills}, halts ended {resumes}, runs ended"
        f" {Counter(code for each in both for code in each.ended)}"
    )
    weather.judged()
    assert _is_complete(site, weather)
    assert kills
    assert resumes


def _mended(site: RolloverSite, weather: Storm) -> None:
    """What Octavia's operator does: free what is stuck, and see what is in ERROR."""
    url = f"{site.octavia.url}/v2/lbaas/loadbalancers"
    for each in site.octavia.admin.get(url).json()["loadbalancers"]:
        if each["provisioning_status"] in {"ERROR", "PENDING_UPDATE"}:
            weather.retried.add(str(each["id"]))
            site.octavia.set_status(each["id"], provisioning_status="ACTIVE")
    weather.doubt = False


def _resume(machine: Machine) -> None:
    words = ["-m", "retrofit", "--config", str(machine.config), "rollover", "--resume", "--yes"]
    # Its own rollover may find the next doubt.
    subprocess.run([sys.executable, *words], check=False, capture_output=True)


def _is_complete(site: RolloverSite, weather: Storm) -> bool:
    images = site.images()
    left_out = {weather.gone, site.load_balancers["tagged"]}
    return all(
        on <= set(weather.images[1:])
        for name, on in images.items()
        if site.load_balancers[name] not in left_out
    )
