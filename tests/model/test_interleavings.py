"""Runs and an operator's commands in any order, while others change Glance between our calls.

The code under test is the real one, from `run_once` and `by_hand` down to every call of Glance;
only Glance and Octavia are in memory, and building and verifying take no time. By default a fixed
choice of histories is tried, the same each time. `HYPOTHESIS_PROFILE=thorough pytest` on this file
tries sixty times as many, other ones each time.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from retrofit import (
    by_hand,
    failures,
    making,
    pausing,
    pipeline,
    publish,
    recorded,
    rotation,
    survey,
    upload,
)
from retrofit.cloud import Glance
from retrofit.config import BuildSettings, PathSettings, PublishSettings, Settings, Target
from retrofit.dib import recipe_for
from retrofit.errors import BuildError, PublishError
from retrofit.model import BuiltImage, Check, Outcome, Verdict
from retrofit.pausing import order_by_me, pause_of, remove_pause, write_pause
from retrofit.plan import UNFINISHED, is_usable
from retrofit.report import RunReport
from tests.thoroughness import THOROUGH
from tests.unit.memory_glance import Fault, KilledError, MemoryGlance
from tests.unit.others import ACTS, DISK, Others, pick
from tests.unit.witness import TAG, Witness
from tests.unit.world import World

# At which of our calls. A run looks, creates, uploads and tags within the first fifteen.
when = st.integers(0, 14) | st.integers(0, 45)
interference = st.lists(st.tuples(when, st.sampled_from(ACTS), st.integers(0, 5)), max_size=3)
faults = st.none() | st.none() | st.builds(Fault, at=when, kind=st.sampled_from(Fault.KINDS))
known_recipe = cache(lambda packages: recipe_for(BuildSettings(packages=packages)))


class Interleavings(RuleBasedStateMachine):
    """The life of one target in a world of others."""

    @initialize(
        keep=st.sampled_from([2, 1, 3]),
        retire_after=st.sampled_from([0, 0, 48]),
        unasked=st.sampled_from([0, 72]),
        versions=st.integers(0, 4),
        serves=st.booleans(),
        adopt=st.booleans(),
        hide=st.booleans(),
        seed=st.integers(0, 99),
    )
    def begin(
        self,
        *,
        keep: int,
        retire_after: int,
        unasked: int,
        versions: int,
        serves: bool,
        adopt: bool,
        hide: bool,
        seed: int,
    ) -> None:
        """Start with what some good runs made; each version may serve a load balancer."""
        self.directory = Path(tempfile.mkdtemp(prefix="retrofit-interleavings-"))
        self.publish = PublishSettings(
            keep=keep,
            retire_after=retire_after,
            retire_unasked_after=unasked,
            adopt=adopt,
            hide=hide,
        )
        self.packages: tuple[str, ...] = ()
        self.world = World(seed)
        self.witness = Witness(self.world, self.target)
        self.others = Others(self.world, self.witness)
        self.names = itertools.count(1)
        self.glance = MemoryGlance(self.world)
        self.build_fails: str | None = None
        self.held: str | None = None
        """What a rollback went back to, as long as nothing gives a reason to leave it."""
        self.paused_until: datetime | None = None
        self.pause_ended = False
        """Whether a process of ours may have seen the pause end: it may take the record away, and
        a clock that is set back then brings the pause back or not."""
        self.world.add(
            b"of another target",
            tags=frozenset({"other-tag"}),
            properties={"retrofit_target": "other", "retrofit_promoted_at": "2026-10-01"},
        )
        self.world.add(b"of nobody", name="somebody's")
        self.others.release()
        for _ in range(versions):
            assert self.process(lambda _: self._run()).outcome == "published"
            if serves:
                self.others.act("boot", 0)
            self.others.release()
            self.world.pass_time(hours=20)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def target(self) -> Target:
        return Target(publish=self.publish, build=BuildSettings(packages=self.packages))

    @property
    def settings(self) -> Settings:
        paths = {key: self.directory / key for key in ("state", "cache", "work", "logs")}
        return Settings(targets=(self.target,), paths=PathSettings(**paths, keep_logs=3))

    # One process of ours.

    def process(
        self,
        work: Callable[[MemoryGlance], Any],
        *,
        others: list[tuple[int, str, int]] | None = None,
        fault: Fault | None = None,
    ) -> Any:
        """Run `work` as a process of its own; returns what it returned, None when it was killed."""
        acts = list(others or ())
        if self.paused_until is not None and self.world.now >= self.paused_until:
            self.pause_ended = True

        def act(number: int) -> None:
            self.witness.call = number
            for at, what, which in acts:
                if at == number:
                    self.others.act(what, which)
            self.witness.before(number)

        glance = MemoryGlance(
            self.world,
            others=act,
            witness=self.witness.saw,
            fault=fault,
            refuses_data=self.build_fails == "upload",
        )
        self.witness.a_process_begins()
        with self._in_this_world(glance):
            try:
                result = work(glance)
            except KilledError:
                result = None
        self.interfered = any(at < glance.calls for at, _, _ in acts)
        if self.interfered:
            self.held = None
        assert not self.witness.broken, (self.witness.broken, self.witness.changes)
        if isinstance(result, RunReport) and result.error is not None:
            assert result.exit_code != 1, f"a bug: {result.error.message}"
        return result

    @contextmanager
    def _in_this_world(self, glance: MemoryGlance) -> Iterator[None]:
        world, witness = self.world, self.witness

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
                return world.now

        def usage(_target: Target) -> Any:
            witness.asks()
            return world.usage()

        def look(target: Target, glance: Any) -> Any:
            witness.looks()
            return take_inventory(target, glance)

        def recipe(build: BuildSettings) -> Any:
            return known_recipe(build.packages)

        take_inventory = survey.take_inventory
        dated = (failures, pausing, publish, recorded, rotation, survey)
        looking = (survey, rotation, by_hand)
        with ExitStack() as stack:
            replacements: tuple[Any, ...] = (
                patch.object(Glance, "connect", lambda _settings: glance),
                *(patch.object(module, "datetime", Clock) for module in dated),
                *(patch.object(module, "take_inventory", look) for module in looking),
                patch.object(survey, "usage", usage),
                # Takes processes and namespaces; tests of its own look at what it says.
                patch.object(making, "_require_machine", lambda _run, _source: None),
                *(patch.object(module, "recipe_for", recipe) for module in (pipeline, by_hand)),
                patch.object(upload, "new_id", world.new_id),
                structlog.testing.capture_logs(),
            )
            for replaced in replacements:
                stack.enter_context(replaced)
            yield

    def _build(self, source: Path, **asked: Any) -> BuiltImage:
        assert source.read_bytes().startswith(DISK)
        if self.build_fails == "build":
            raise BuildError("disk-image-create failed")
        self.world.now += timedelta(minutes=7)
        asked["work_dir"].mkdir(parents=True)
        path = asked["work_dir"] / "amphora.qcow2"
        path.write_bytes(f"amphora {next(self.names)}".encode())
        digest = hashlib.sha512(path.read_bytes()).hexdigest()
        size = path.stat().st_size
        return BuiltImage(
            path=path, disk_format="qcow2", size=size, virtual_size=8, min_disk=3, sha512=digest
        )

    def _verify(self, _path: Path, **_asked: Any) -> Verdict:
        outcome = Outcome.FAILED if self.build_fails == "verify" else Outcome.PASSED
        checks = (Check(name="haproxy", outcome=outcome, detail="2.8"),)
        return Verdict(checks=checks, how="offline", facts={"haproxy_version": "2.8.5"})

    def _run(self, *, force: bool = False) -> RunReport:
        return pipeline.run_once(
            self.target, self.settings, force=force, build=self._build, verify=self._verify
        )

    # What others do, and what happens.

    @rule(what=st.sampled_from(ACTS), which=st.integers(0, 5))
    def others_act(self, what: str, which: int) -> None:
        self.others.act(what, which)
        self.held = None

    @rule(others=interference, fault=faults)
    def run_after_a_release(self, others: list[tuple[int, str, int]], fault: Fault | None) -> None:
        self.others.release()
        self.held = None
        self._any_run(others, fault)

    @rule(recipe=st.sampled_from([(), ("tcpdump",)]))
    def recipe_changed(self, recipe: tuple[str, ...]) -> None:
        if recipe != self.packages:
            self.held = None
        self.packages = recipe
        self.witness.target = self.target

    @rule(hours=st.sampled_from([1, 20, 100]))
    def time_passes(self, hours: int) -> None:
        self.witness.note_time()
        self.world.pass_time(hours=hours)

    @rule()
    def clock_is_set_back(self) -> None:
        self.witness.note_time()
        self.world.pass_time(hours=-3)

    @rule()
    def octavia_comes_and_goes(self) -> None:
        self.world.octavia_answers = not self.world.octavia_answers

    @rule(how=st.sampled_from([None, None, "build", "verify", "upload"]))
    def builds_fail(self, how: str | None) -> None:
        self.build_fails = how

    # What we do.

    @rule(
        others=interference,
        fault=faults,
        force=st.sampled_from([False, False, False, True]),
    )
    def run(self, others: list[tuple[int, str, int]], fault: Fault | None, force: bool) -> None:
        if force:
            self.held = None
        self._any_run(others, fault, force=force)

    @rule(fault=st.builds(Fault, at=when, kind=st.sampled_from(Fault.KINDS)))
    def run_dies_and_the_next_one_heals(self, fault: Fault) -> None:
        self.others.release()
        self.held = self.build_fails = None
        self._any_run([], fault)
        self.run_twice()

    def _any_run(
        self, others: list[tuple[int, str, int]], fault: Fault | None, *, force: bool = False
    ) -> None:
        report = self.process(lambda _: self._run(force=force), others=others, fault=fault)
        if report is None or report.error is not None or self.interfered:
            return
        self._check_good_run(report)

    @rule()
    def run_twice(self) -> None:
        report = self.process(lambda _: self._run())
        if report.error is None:
            self._check_good_run(report)
            again = self.process(lambda _: self._run())
            assert again.outcome == ("paused" if report.outcome == "paused" else "unchanged")
            assert again.error is None
            assert self.witness.changes == []
            assert again.image_id == report.image_id

    def _check_good_run(self, report: RunReport) -> None:
        if self.others.took_a_pause:
            self.paused_until, self.others.took_a_pause = None, False
        paused = self.paused_until is not None and self.world.now < self.paused_until
        assert (report.outcome == "paused") is paused or (self.pause_ended and paused)
        if report.outcome == "paused":
            assert self.witness.changes == []
            return
        standing = [image.id for image in self.witness.standing()]
        if report.image_id is None:
            assert standing == []
            assert any("charm" in note for note in report.notes)
            return
        assert standing == [report.image_id]
        assert not [
            image
            for image in self.others.ours()
            if image.status in UNFINISHED and not image.protected
        ]
        if self.held is not None:
            assert standing == [self.held], "a run undid a rollback"

    @precondition(lambda self: self.others.ours())
    @rule(which=st.integers(0, 5), others=interference, fault=faults)
    def promote(self, which: int, others: list[tuple[int, str, int]], fault: Fault | None) -> None:
        image = pick(self.others.ours(), which)
        assert image is not None
        self._by_hand(image.id, "promote", others, fault)

    @precondition(lambda self: len(self.others.ours()) > 1)
    @rule(which=st.none() | st.integers(0, 5), others=interference, fault=faults)
    def rollback(
        self, which: int | None, others: list[tuple[int, str, int]], fault: Fault | None
    ) -> None:
        chosen = None if which is None else pick(self.others.ours(), which)
        with self._in_this_world(self.glance):
            try:
                wanted = by_hand.preview_rollback(self.target, chosen.id if chosen else None)
            except PublishError:
                return
        self._by_hand(wanted.image.id, "rollback", others, fault)

    def _by_hand(
        self, number: str, action: Any, others: list[tuple[int, str, int]], fault: Fault | None
    ) -> None:
        stood = [image.id for image in self.witness.standing()]
        report = self.process(
            lambda _: by_hand.promote_by_hand(self.target, self.settings, number, action=action),
            others=others,
            fault=fault,
        )
        if report is None or report.error is not None:
            if self.witness.changes:
                self.held = None
            return
        self.held = None
        if not self.interfered:
            assert [image.id for image in self.witness.standing()] == [number]
            assert self.world.eligible(TAG)[0].id == number
            self.held = number if self._everything_is_made() else None
            done = stood != [number] or report.demoted
            assert report.outcome == ("promoted" if done else "unchanged")

    def _everything_is_made(self) -> bool:
        """Say whether the newest source and the recipe ask for no image that is not there."""
        newest = max(
            (one.properties["version_name"] for one in self.others.sources()), default=None
        )
        recipe = known_recipe(self.packages).digest
        return any(
            is_usable(image)
            and image.property("source_version_name") == newest
            and image.property("retrofit_recipe") == recipe
            for image in self.others.ours()
        )

    @rule(others=interference, fault=faults)
    def retire(self, others: list[tuple[int, str, int]], fault: Fault | None) -> None:
        self.process(
            lambda _: by_hand.retire_by_hand(self.target, self.settings), others=others, fault=fault
        )

    @rule(hours=st.none() | st.sampled_from([1, 50]))
    def pause(self, hours: int | None) -> None:
        until = None if hours is None else self.world.now + timedelta(hours=hours)

        def order(glance: Any) -> None:
            inventory = survey.take_inventory(self.target, glance)
            ordered = order_by_me("a change is going on", until)
            write_pause(glance, inventory, self.target, self.settings.paths.state, ordered)

        self.process(order)
        self.others.took_a_pause = False
        self.paused_until = until or datetime.max.replace(tzinfo=UTC)
        self.pause_ended = False

    @rule()
    def resume(self) -> None:
        def end(glance: Any) -> None:
            inventory = survey.take_inventory(self.target, glance)
            state = self.settings.paths.state
            remove_pause(glance, inventory, self.target, state)
            left = pause_of(survey.take_inventory(self.target, glance), self.target, state)
            assert left is None

        self.process(end)
        self.paused_until = None


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=3000 if THOROUGH else 50,
    stateful_step_count=40 if THOROUGH else 25,
    deadline=None,
    derandomize=not THOROUGH,
    # Making a history shorter takes minutes, and says nothing about whether all is well.
    phases=tuple(Phase) if THOROUGH else (Phase.explicit, Phase.reuse, Phase.generate),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
