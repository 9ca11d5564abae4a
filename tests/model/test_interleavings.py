"""Runs and an operator's commands in any order, while others change Glance between our calls.

The code under test is the real one, from `run_once` and `manual` down to every call of Glance;
only Glance and Octavia are in memory, and building and verifying take no time. By default a fixed
choice of histories is tried, the same each time. `HYPOTHESIS_PROFILE=thorough pytest` on this file
tries sixty times as many, other ones each time.
"""

from __future__ import annotations

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

from retrofit import pipeline, runner
from retrofit.build.recipe import recipe_for
from retrofit.build.request import BuildRequest
from retrofit.cloud import Glance
from retrofit.config import (
    BuildSettings,
    FreshnessSettings,
    PathSettings,
    PublishSettings,
    Settings,
    Target,
)
from retrofit.errors import BuildError, PublishError
from retrofit.model import UNFINISHED, BuiltImage, Verdict
from retrofit.observe import target
from retrofit.operations import manual, pause
from retrofit.operations.pause import new_pause, remove_pause, write_pause
from retrofit.plan import is_usable
from retrofit.produce.preflight import require
from retrofit.publish import look_again, properties, rotate, upload
from retrofit.runs import failures
from retrofit.runs.pauses import pause_of
from retrofit.runs.report import RunReport
from retrofit.verify.request import VerifyRequest
from tests.built import built_image, verdict_at
from tests.model.invariant_checker import TAG, InvariantChecker, is_evidence
from tests.model.memory_glance import Fault, KilledError, MemoryGlance
from tests.model.others import ACTS, DISK, Others, pick
from tests.model.processes import EVIDENCE
from tests.model.world import World
from tests.thoroughness import THOROUGH

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
        unknown=st.sampled_from([0, 72]),
        versions=st.integers(0, 4),
        serves=st.booleans(),
        replace_charm_images=st.booleans(),
        hide=st.booleans(),
        seed=st.integers(0, 99),
    )
    def begin(
        self,
        *,
        keep: int,
        retire_after: int,
        unknown: int,
        versions: int,
        serves: bool,
        replace_charm_images: bool,
        hide: bool,
        seed: int,
    ) -> None:
        """Start with what some good runs made; each version may serve a load balancer."""
        self.directory = Path(tempfile.mkdtemp(prefix="retrofit-interleavings-"))
        self.publish = PublishSettings(
            keep=keep,
            retire_after=retire_after,
            retire_after_unknown=unknown,
            replace_charm_images=replace_charm_images,
            hide=hide,
        )
        self.packages: tuple[str, ...] = ()
        self.world = World(seed)
        self.checker = InvariantChecker(self.world, self.target)
        self.others = Others(self.world, self.checker)
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
        return Target(
            publish=self.publish,
            build=BuildSettings(packages=self.packages),
            freshness=FreshnessSettings(check=False),
        )

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
            self.checker.call = number
            for at, what, which in acts:
                if at == number:
                    self.others.act(what, which)
            self.checker.before(number)

        glance = MemoryGlance(
            self.world,
            others=act,
            checker=self.checker.saw,
            fault=fault,
            refuses_data=self.build_fails == "upload",
        )
        self.checker.a_process_begins()
        with self._in_this_world(glance):
            try:
                result = work(glance)
            except KilledError:
                result = None
        self.interfered = any(at < glance.calls for at, _, _ in acts)
        if self.interfered:
            self.held = None
        assert not self.checker.broken, (self.checker.broken, self.checker.changes)
        if isinstance(result, RunReport) and result.error is not None:
            assert result.exit_code != 1, f"a bug: {result.error.message}"
        return result

    @contextmanager
    def _in_this_world(self, glance: MemoryGlance) -> Iterator[None]:
        world, checker = self.world, self.checker

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
                return world.now

        def usage(_target: Target) -> Any:
            checker.asks()
            return world.usage()

        def look(target: Target, glance: Any, machine: Any = None) -> Any:
            checker.looks()
            return take_inventory(target, glance, machine)

        def recipe(build: BuildSettings) -> Any:
            return known_recipe(build.packages)

        take_inventory = target.take_inventory
        dated = (failures, pause, properties, runner, target)
        looking = (target, rotate, manual)
        with ExitStack() as stack:
            replacements: tuple[Any, ...] = (
                patch.object(Glance, "connect", lambda _settings: glance),
                *(patch.object(module, "datetime", Clock) for module in dated),
                *(patch.object(module, "take_inventory", look) for module in looking),
                patch.object(target, "usage", usage),
                # Takes processes and namespaces; tests of its own look at what it says.
                patch.object(require, "tries_of_a_build", lambda *_: ([], [])),
                *(patch.object(module, "recipe_for", recipe) for module in (pipeline, manual)),
                patch.object(upload, "new_id", world.new_id),
                patch.object(look_again, "PAUSE", 0.0),
                structlog.testing.capture_logs(),
            )
            for replaced in replacements:
                stack.enter_context(replaced)
            yield

    def _build(self, request: BuildRequest) -> BuiltImage:
        assert request.source.read_bytes().startswith(DISK)
        if self.build_fails == "build":
            raise BuildError("disk-image-create failed")
        self.world.now += timedelta(minutes=7)
        request.work_dir.mkdir(parents=True)
        path = request.work_dir / "amphora.qcow2"
        path.write_bytes(f"amphora {next(self.names)}".encode())
        evidence = request.work_dir / "evidence.tar"
        evidence.write_bytes(EVIDENCE)
        return built_image(path, evidence=evidence)

    def _verify(self, _request: VerifyRequest) -> Verdict:
        fails = self.build_fails == "verify"
        return verdict_at("full", failing_check="agent-answers" if fails else None)

    def _run(self, *, force: bool = False) -> RunReport:
        return pipeline.run_once(
            self.target, self.settings, force=force, build=self._build, verify=self._verify
        )

    # What others do, and what happens.

    @rule(what=st.sampled_from(ACTS), which=st.integers(0, 5))
    def others_act(self, what: str, which: int) -> None:
        self.others.act(what, which)
        self.held = None

    @rule()
    def images_are_as_0_1_0_left_them(self) -> None:
        # Nothing changes by it: what a rollback went back to stays promoted.
        self.others.rejections_are_of_0_1_0()

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
        self.checker.target = self.target

    @rule(hours=st.sampled_from([1, 20, 100]))
    def time_passes(self, hours: int) -> None:
        self.checker.note_time()
        self.world.pass_time(hours=hours)

    @rule()
    def clock_is_set_back(self) -> None:
        self.checker.note_time()
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
            assert self.checker.changes == []
            assert again.image_id == report.image_id

    def _check_good_run(self, report: RunReport) -> None:
        paused = self.paused_until is not None and self.world.now < self.paused_until
        assert (report.outcome == "paused") is paused or (self.pause_ended and paused)
        if report.outcome == "paused":
            assert self.checker.changes == []
            return
        standing = [image.id for image in self.checker.standing()]
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
        assert not [
            record.id
            for record in self.world.images.values()
            if is_evidence(record)
            and record.property("retrofit_evidence_of") not in self.world.images
            and not record.protected
            and not record.tags
            and record.id not in self.world.in_use_in_store  # Glance refuses until it is not
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
                wanted = manual.preview_rollback(self.target, chosen.id if chosen else None)
            except PublishError:
                return
        self._by_hand(wanted.image.id, "rollback", others, fault)

    @precondition(lambda self: len(self.others.ours()) > 1)
    @rule(which=st.none() | st.integers(0, 5))
    def rollback_by_0_1_0_is_kept(self, which: int | None) -> None:
        self.rollback(which, [], None)
        self.others.rejections_are_of_0_1_0()
        self.run_twice()

    def _by_hand(
        self, number: str, action: Any, others: list[tuple[int, str, int]], fault: Fault | None
    ) -> None:
        stood = [image.id for image in self.checker.standing()]
        report = self.process(
            lambda _: getattr(manual, action)(self.target, self.settings, number),
            others=others,
            fault=fault,
        )
        if report is None or report.error is not None:
            if self.checker.changes:
                self.held = None
            return
        self.held = None
        if not self.interfered:
            assert [image.id for image in self.checker.standing()] == [number]
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
            lambda _: manual.retire(self.target, self.settings), others=others, fault=fault
        )

    @rule(hours=st.none() | st.sampled_from([1, 50]))
    def pause(self, hours: int | None) -> None:
        until = None if hours is None else self.world.now + timedelta(hours=hours)

        def order(glance: Any) -> None:
            inventory = target.take_inventory(self.target, glance)
            ordered = new_pause("a change is going on", until)
            write_pause(glance, inventory, self.target, self.settings.paths.state, ordered)

        self.process(order)
        self.paused_until = until or datetime.max.replace(tzinfo=UTC)
        self.pause_ended = False

    @rule()
    def resume(self) -> None:
        def end(glance: Any) -> None:
            inventory = target.take_inventory(self.target, glance)
            state = self.settings.paths.state
            remove_pause(glance, inventory, self.target, state)
            left = pause_of(target.take_inventory(self.target, glance), self.target, state)
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
