"""A cloud in memory whose load balancers a rollover moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.cloud.failover import Asked
from retrofit.config import PathSettings, RolloverSettings, Settings, Target
from retrofit.errors import CloudError
from retrofit.fleet.failover import FleetObservation
from retrofit.fleet.rollover.decision import RolloverDecision
from retrofit.model import Amphora, Fleet, Image, LoadBalancer, Usage
from retrofit.operations import rollover
from retrofit.operations.rollover import site as site_module
from retrofit.operations.rollover.rolling import Rolling
from retrofit.operations.rollover.site import Site
from retrofit.plan import Freshness, Identity, Inventory
from retrofit.runs.report import RunReport
from retrofit.system.progress import silent
from retrofit.times import iso
from tests.unit.fleet.rollover.made import amphorae_of, balancer
from tests.unit.images import NOW, OWN
from tests.unit.images import amphora as image

DAY = timedelta(days=1)


def promoted_at(days: float) -> dict[str, str]:
    return {"retrofit_promoted_at": iso(NOW - days * DAY)}


PROMOTED = image(9, tagged=True, age_hours=72, properties=promoted_at(2))
RECENT = image(8, age_hours=10 * 24, properties=promoted_at(9))
OLD = image(1, age_hours=40 * 24, properties=promoted_at(39))


def lacking(which: Image, *packages: str) -> Freshness:
    """What the archive answers for an image that lacks the fixes of these packages."""
    updates = tuple(
        Update(package=each, source=each, installed="1", candidate="2", kind=UpdateKind.SECURITY)
        for each in packages
    )
    return Freshness(
        image_id=which.id, offer=Offer(checked_at=NOW, updates=updates, newest_index=None)
    )


@dataclass(kw_only=True)
class MemoryCloud:
    """Glance and Octavia at one moment; `meet` acts in place of a failover, by load balancer."""

    state: Path
    target: Target
    images: dict[str, Image] = field(
        default_factory=lambda: {each.id: each for each in (PROMOTED, RECENT, OLD)}
    )
    load_balancers: dict[str, LoadBalancer] = field(default_factory=dict)
    amphorae: dict[str, tuple[Amphora, ...]] = field(default_factory=dict)
    archive: dict[str, Freshness] = field(default_factory=dict)
    meet: dict[str, Callable[[], None]] = field(default_factory=dict)
    selected: list[Image | None] = field(default_factory=list)
    """What Octavia would select at the next questions, in place of the promoted image."""
    asked: list[str] = field(default_factory=list)
    observed: int = 0

    @property
    def settings(self) -> Settings:
        return Settings(targets=(self.target,), paths=PathSettings(state=self.state))

    def add(self, name: str, which: Image, kind: str = "single", **fields: Any) -> None:
        """Have a load balancer run on an image."""
        self.load_balancers[name] = balancer(name, **fields)
        self.amphorae[name] = amphorae_of(name, kind, image=which.id)

    def change(self, name: str, **fields: Any) -> None:
        self.load_balancers[name] = replace(self.load_balancers[name], **fields)

    def on(self, name: str) -> set[str | None]:
        """The images that a load balancer runs on."""
        return {each.image_id for each in self.amphorae[name]}

    @property
    def promoted(self) -> Image:
        (found,) = (each for each in self.images.values() if each.tags)
        return found

    def promote(self, which: Image) -> None:
        """Have this image promoted, and no other."""
        for each in list(self.images.values()):
            self.images[each.id] = replace(each, tags=frozenset())
        self.images[which.id] = which

    def observe_fleet(
        self, target: Target, _settings: Settings, *, ask_archive: bool = False
    ) -> tuple[FleetObservation, CloudError | None]:
        self.observed += 1
        inventory = Inventory(images=tuple(self.images.values()), own_project=OWN, now=NOW)
        amphorae = tuple(each for some in self.amphorae.values() for each in some)
        observation = FleetObservation(
            where="cloud",
            inventory=inventory,
            identities=(Identity.of(target, OWN),),
            fleet=Fleet(
                usage=Usage(amphorae=amphorae), load_balancers=tuple(self.load_balancers.values())
            ),
            images=dict(self.images),
            freshness=dict(self.archive) if ask_archive else {},
        )
        return observation, None

    # Glance, as far as a rollover asks it.

    def get(self, image_id: str) -> Image | None:
        return self.images.get(image_id)

    def octavia_image(self, _tag: str, _owner: str | None = None) -> Image | None:
        return self.selected.pop(0) if self.selected else self.promoted

    def update(self, image_id: str, changes: Mapping[str, str | None]) -> None:
        kept = {**self.images[image_id].properties, **changes}
        properties = {key: text for key, text in kept.items() if text is not None}
        self.images[image_id] = replace(self.images[image_id], properties=properties)

    # Octavia, as far as a rollover asks it.

    def load_balancer(self, name: str) -> LoadBalancer | None:
        return self.load_balancers.get(name)

    def amphorae_of(self, name: str) -> tuple[Amphora, ...]:
        return self.amphorae[name]

    def has_statistics(self, _amphora: str) -> bool:
        return True

    def fail_over(self, name: str) -> Asked:
        self.asked.append(name)
        if (act := self.meet.get(name)) is not None:
            act()
        else:
            self.change(name, provisioning_status="ACTIVE")
            self.amphorae[name] = tuple(
                replace(each, id=f"{each.id}+", image_id=self.promoted.id, created_at=NOW)
                for each in self.amphorae[name]
            )
        return Asked.ACCEPTED

    def site(self) -> Site:
        there: Any = self
        return Site(target=self.target, settings=self.settings, glance=there, octavia=there)

    def roll(self) -> tuple[RolloverDecision, RunReport]:
        """Roll over once, to the end that is written down; raises HaltedError."""
        report = RunReport(run_id="run", target="default", log_dir=self.state, action="rollover")
        rolling = Rolling(
            site=self.site(),
            report=report,
            progress=silent,
            wait=False,
            told=lambda _situation, _decision: None,
            sleep=lambda _seconds: None,
        )
        decision = rolling.run()
        rollover._conclude(rolling.site, rolling.situation, decision, report)
        return decision, report


def memory_cloud(monkeypatch: pytest.MonkeyPatch, state: Path, **settings: Any) -> MemoryCloud:
    """A cloud whose rollovers wait for nothing, but for what is given."""
    at_once = {"soak": 0, "canary_soak": 0, "pause": 0, "outages": "always", **settings}
    cloud = MemoryCloud(
        state=state, target=Target(rollover=RolloverSettings.model_validate(at_once))
    )
    monkeypatch.setattr(site_module, "observe_fleet", cloud.observe_fleet)
    monkeypatch.setattr(Site, "connect", lambda _target, _settings: cloud.site())
    return cloud
