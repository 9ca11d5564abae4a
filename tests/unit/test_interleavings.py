"""Runs and an operator's commands in any order, while others change Glance between our calls.

The code under test is the real one, from `run_once` and `by_hand` down to every call of Glance;
only Glance and Octavia are in memory, and building and verifying take no time. By default a fixed
choice of histories is tried, the same each time. `HYPOTHESIS_PROFILE=thorough pytest` on this file
tries some hundred times as many, other ones each time.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from retrofit import by_hand, failures, pausing, pipeline, publish, recorded, rotation, survey
from retrofit.cloud import Glance
from retrofit.config import BuildSettings, PathSettings, PublishSettings, Settings, Target
from retrofit.dib import recipe_for
from retrofit.errors import BuildError, PublishError
from retrofit.model import BuiltImage, Check, Image, Outcome, Verdict
from retrofit.pausing import order_by_me, pause_of, remove_pause, write_pause
from retrofit.plan import CHARM_TAG, UNFINISHED, is_usable, octavia_order
from retrofit.plan.pause import PROPERTY as PAUSED
from retrofit.report import RunReport
from tests.unit.images import OWN
from tests.unit.memory_glance import DISK, Fault, KilledError, Machine, MemoryGlance, World

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
TAG = "octavia-amphora"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
OF_OTHERS = (
    "plant a look-alike", "make one with the charm", "untag", "tag", "hide", "show", "protect",
    "unprotect", "delete", "deactivate", "reactivate", "spoil", "keep in the store", "boot",
    "come up", "stop", "release a source", "let a source vanish",
)  # fmt: skip
interference = st.lists(
    st.tuples(st.integers(0, 45), st.sampled_from(OF_OTHERS), st.integers(0, 5)), max_size=3
)
faults = (
    st.none()
    | st.none()
    | st.builds(Fault, at=st.integers(0, 45), kind=st.sampled_from(Fault.KINDS))
)
known_recipe = cache(lambda packages: recipe_for(BuildSettings(packages=packages)))


class Witness:
    """Sees every change that we make to an image, and says which one should not have been."""

    def __init__(self, world: World, target: Target) -> None:
        self.world = world
        self.target = target
        self.broken: list[str] = []
        self.changes: list[str] = []
        self.taken_away = False
        """Whether others took something from Octavia since we looked last."""
        self.free_since: dict[str, datetime] = {}
        """When an image was last one that Octavia could have taken."""
        self.asked: set[str] | None = None
        """On what amphorae ran when Octavia was asked last; None where it did not answer."""
        self.unusable_since: dict[str, int] = {}
        """At which call of ours others made an image one that cannot be promoted."""
        self.made_now: set[str] = set()
        """What this process made: it may take it back."""
        self.lent: set[str] = set()
        """What others tagged: between two looks of ours nobody can know how long it stood."""

    def require(self, holds: bool, promise: str) -> None:
        if not holds:
            self.broken.append(promise)

    def standing(self) -> list[Image]:
        return [image for image in self.world.eligible(TAG) if of_target(image)]

    def note_time(self) -> None:
        """Remember that what Octavia could take now it could take until now."""
        for image in self.world.eligible(TAG):
            self.free_since[image.id] = self.world.now

    def before(self) -> None:
        self.note_time()
        self.could_take = {image.id for image in self.world.eligible(TAG)}
        self.stood = [image.id for image in self.standing()]

    def saw(self, what: str, before: Image | None, after: Image | None) -> None:
        """Judge one change of ours, which has just been made."""
        image = before or after
        assert image is not None
        self.changes.append(f"{what} {image.id}")
        adopted = self.target.publish.adopt and CHARM_TAG in image.tags and what == "untag"
        self.require(image.owner == OWN, f"{what} an image of another project")
        self.require(of_target(image) or adopted, f"{what} an image that is not of the target")
        if not self.taken_away:
            left = {one.id for one in self.world.eligible(TAG)}
            self.require(bool(left) or not self.could_take, f"{what}: Octavia is left with nothing")
            self.require(
                bool(self.standing()) or not self.stood, f"{what}: nothing of ours is left promoted"
            )
        if what == "tag" and not is_usable(image):
            self.require(image.id not in self.unusable_since, "promoted what cannot be used")
        if what == "create":
            self.made_now.add(image.id)
        if what == "delete" and image.id not in self.made_now and image.status not in UNFINISHED:
            self._retired(image)

    def _retired(self, image: Image) -> None:
        rules = self.target.publish
        self.require(not image.protected, "retired a protected image")
        if not self.taken_away:
            newest = max(self.standing(), key=octavia_order, default=None)
            self.require(newest is not None, "retired with nothing promoted")
            if newest is not None:
                self.require(octavia_order(image) < octavia_order(newest), "retired what is newer")
        free_since = max(self.free_since.get(image.id, image.created_at), image.created_at)
        hours = rules.retire_after
        if self.asked is None:
            hours = max(hours, rules.retire_unasked_after)
        else:
            self.require(image.id not in self.asked, "retired what an amphora runs on")
        self.require(
            image.id in self.lent
            or free_since + timedelta(hours=hours) <= self.world.now + timedelta(seconds=1),
            f"retired {image.id} before {hours} hours had passed since Octavia could take it",
        )


def of_target(image: Image) -> bool:
    return image.owner == OWN and image.property("retrofit_target") == "default"


class Interleavings(RuleBasedStateMachine):
    """The life of one target in a world of others."""

    @initialize(
        keep=st.sampled_from([2, 1, 3]),
        retire_after=st.sampled_from([0, 0, 48]),
        unasked=st.sampled_from([0, 72]),
        versions=st.integers(0, 4),
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
        adopt: bool,
        hide: bool,
        seed: int,
    ) -> None:
        """Start with what some good runs made, each of another version."""
        self.directory = Path(tempfile.mkdtemp(prefix="retrofit-interleavings-"))
        self.rules = PublishSettings(
            keep=keep,
            retire_after=retire_after,
            retire_unasked_after=unasked,
            adopt=adopt,
            hide=hide,
        )
        self.packages: tuple[str, ...] = ()
        self.world = World(seed)
        self.witness = Witness(self.world, self.target)
        self.serials = itertools.count(1)
        self.names = itertools.count(1)
        self.glance = MemoryGlance(self.world)
        self.build_fails: str | None = None
        self.held: str | None = None
        """What a rollback went back to, as long as nothing gives a reason to leave it."""
        self.paused_until: datetime | None = None
        self.world.add(
            b"of another target",
            tags=frozenset({"other-tag"}),
            properties={"retrofit_target": "other", "retrofit_promoted_at": "2026-10-01"},
        )
        self.world.add(b"of nobody", name="somebody's")
        self._release()
        for _ in range(versions):
            assert self.process(lambda _: self._run()).outcome == "published"
            self._release()
            self.world.pass_time(hours=20)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def target(self) -> Target:
        return Target(publish=self.rules, build=BuildSettings(packages=self.packages))

    @property
    def settings(self) -> Settings:
        paths = {key: self.directory / key for key in ("state", "cache", "work", "logs")}
        return Settings(targets=(self.target,), paths=PathSettings(**paths, keep_logs=3))

    # What there is to choose from.

    def ours(self) -> list[Image]:
        return sorted(filter(of_target, self.world.images.values()), key=octavia_order)

    def sources(self) -> list[Image]:
        return [one for one in self.world.images.values() if one.property("product_name")]

    def pick(self, images: Iterable[Image], number: int) -> Image | None:
        listed = list(images)
        return listed[-1 - number % len(listed)] if listed else None

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

        def act(number: int) -> None:
            for at, what, which in acts:
                if at == number:
                    self.act_of_others(what, which, at=number)
            self.witness.before()

        glance = MemoryGlance(
            self.world,
            others=act,
            witness=self.witness.saw,
            fault=fault,
            refuses_data=self.build_fails == "upload",
        )
        self.witness.changes.clear()
        self.witness.unusable_since.clear()
        self.witness.made_now.clear()
        self.witness.taken_away = False
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
            witness.asked = (
                {one.image_id for one in world.machines.values()} if world.octavia_answers else None
            )
            return world.usage()

        def look(target: Target, glance: Any) -> Any:
            witness.taken_away = False
            return take_inventory(target, glance)

        def recipe(build: BuildSettings) -> Any:
            return known_recipe(build.packages)

        take_inventory = survey.take_inventory
        dated = (failures, pausing, publish, recorded, rotation, survey)
        looking = (survey, rotation, by_hand)
        with ExitStack() as stack:
            for replaced in (
                patch.object(Glance, "connect", lambda _settings: glance),
                *(patch.object(module, "datetime", Clock) for module in dated),
                *(patch.object(module, "take_inventory", look) for module in looking),
                patch.object(survey, "usage", usage),
                *(patch.object(module, "recipe_for", recipe) for module in (pipeline, by_hand)),
                structlog.testing.capture_logs(),
            ):
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

    # What others do.

    def act_of_others(self, what: str, which: int, *, at: int = 0) -> None:
        """Do what other tools, tenants and Octavia do, at any time."""
        world = self.world
        self.witness.note_time()
        could_take = {image.id for image in world.eligible(TAG)}
        image = self.pick(self.ours(), which)
        if what == "plant a look-alike":
            copied = image or self.sources()[0] if self.sources() else None
            properties = dict(copied.properties) if copied else {}
            world.add(b"hostile", owner="tenant", tags=frozenset({TAG}), properties=properties)
        elif what == "make one with the charm":
            world.add(
                f"charm {next(self.names)}".encode(),
                tags=frozenset({TAG, CHARM_TAG}),
                properties={
                    "source_product_name": PRODUCT,
                    "source_version_name": f"202611{next(self.serials):02}",
                },
            )
        elif what == "release a source":
            self._release()
        elif what == "let a source vanish":
            source = self.pick(self.sources(), which)
            if source is not None:
                del world.images[source.id]
        elif what == "boot":
            taken = next(iter(world.eligible(TAG)), None)
            if taken is not None:
                number = world.new_id()
                world.machines[number] = Machine(
                    id=number, image_id=taken.id, created_at=world.now, up=False
                )
        elif what in {"come up", "stop"} and world.machines:
            number = sorted(world.machines)[which % len(world.machines)]
            if what == "stop":
                del world.machines[number]
            else:
                world.machines[number] = replace(world.machines[number], up=True)
        elif image is not None:
            self._act_on(image, what)
        for number in could_take - {one.id for one in world.eligible(TAG)}:
            self.witness.taken_away = True
            self.witness.free_since[number] = world.now
        for one in self.ours():
            if is_usable(one):
                self.witness.unusable_since.pop(one.id, None)
            elif one.status == "deactivated" or what == "spoil":
                self.witness.unusable_since.setdefault(one.id, at)

    def _act_on(self, image: Image, what: str) -> None:
        world = self.world
        if what == "untag":
            world.change(image.id, tags=image.tags - {TAG})
        elif what == "tag":
            world.change(image.id, tags=image.tags | {TAG})
            self.witness.lent.add(image.id)
        elif what in {"hide", "show"}:
            world.change(image.id, hidden=what == "hide")
        elif what in {"protect", "unprotect"}:
            world.change(image.id, protected=what == "protect")
        elif what == "delete" and not image.protected:
            del world.images[image.id]
            if image.property(PAUSED):
                self.paused_until = None  # it went with what carried it
        elif what == "deactivate" and image.status == "active":
            world.change(image.id, status="deactivated")
        elif what == "reactivate" and image.status == "deactivated":
            world.change(image.id, status="active")
        elif what == "spoil" and image.status == "active":
            world.change(image.id, hash_value="of other bytes")
        elif what == "keep in the store" and image.size:
            world.in_use_in_store ^= {image.id}

    def _release(self) -> None:
        version = f"202611{next(self.serials):02}"
        self.world.add(
            DISK + version.encode(),
            name=f"auto-sync/ubuntu-noble-24.04-amd64-server-{version}-disk1.img",
            disk_format="qcow2",
            properties={
                "product_name": PRODUCT,
                "version_name": version,
                "item_name": "disk1.img",
                "os_distro": "ubuntu",
                "os_version": "24.04",
                "architecture": "x86_64",
            },
        )

    @rule(what=st.sampled_from(OF_OTHERS), which=st.integers(0, 5))
    def others(self, what: str, which: int) -> None:
        self.act_of_others(what, which)
        self.held = None

    @rule(others=interference, fault=faults)
    def run_after_a_release(self, others: list[tuple[int, str, int]], fault: Fault | None) -> None:
        self._release()
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
        paused = self.paused_until is not None and self.world.now < self.paused_until
        assert (report.outcome == "paused") is paused
        if paused:
            assert self.witness.changes == []
            return
        standing = [image.id for image in self.witness.standing()]
        if report.image_id is None:
            assert standing == []
            assert any("charm" in note for note in report.notes)
            return
        assert standing == [report.image_id]
        assert not [image for image in self.ours() if image.status in UNFINISHED]
        if self.held is not None:
            assert standing == [self.held], "a run undid a rollback"

    @precondition(lambda self: self.ours())
    @rule(which=st.integers(0, 5), others=interference, fault=faults)
    def promote(self, which: int, others: list[tuple[int, str, int]], fault: Fault | None) -> None:
        image = self.pick(self.ours(), which)
        assert image is not None
        self._by_hand(image.id, "promote", others, fault)

    @precondition(lambda self: len(self.ours()) > 1)
    @rule(which=st.none() | st.integers(0, 5), others=interference, fault=faults)
    def rollback(
        self, which: int | None, others: list[tuple[int, str, int]], fault: Fault | None
    ) -> None:
        chosen = None if which is None else self.pick(self.ours(), which)
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
        newest = max((one.properties["version_name"] for one in self.sources()), default=None)
        recipe = known_recipe(self.packages).digest
        return any(
            is_usable(image)
            and image.property("source_version_name") == newest
            and image.property("retrofit_recipe") == recipe
            for image in self.ours()
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
        self.paused_until = until or datetime.max.replace(tzinfo=UTC)

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
    max_examples=int(os.environ.get("EX", "3000")) if THOROUGH else 60,
    stateful_step_count=40 if THOROUGH else 25,
    deadline=None,
    derandomize=not THOROUGH,
    # Making a history shorter takes minutes, and says nothing about whether all is well.
    phases=tuple(Phase) if THOROUGH and "EX" not in os.environ else (Phase.explicit, Phase.reuse, Phase.generate),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
