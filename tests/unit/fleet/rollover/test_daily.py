"""Daily promotions: every load balancer moves all the same, and none moves for ever."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.config import RolloverSettings, Target
from retrofit.config.rollover import WindowSettings
from retrofit.fleet.failover import FleetObservation
from retrofit.fleet.rollover.decision import Done, Halted, Step, Wait, decide
from retrofit.fleet.rollover.record import PROPERTY
from retrofit.fleet.rollover.situation import situation_of
from retrofit.fleet.rollover.windows import is_open
from retrofit.model import Fleet, Image, LoadBalancer, Usage
from retrofit.plan import Freshness, Identity, Inventory
from retrofit.times import iso
from tests.unit.fleet.rollover.made import amphorae_of, balancer
from tests.unit.images import OWN
from tests.unit.images import amphora as image

BEGINNING = datetime.fromisoformat("2026-11-01T09:00:00+00:00")
DAY = timedelta(days=1)
TARGET = Target(
    rollover=RolloverSettings(
        canaries=("canary",),
        outages="window",
        windows=(WindowSettings(start="0 1 * * *", minutes=240, time_zone="Europe/Berlin"),),
    )
)


class Cloud:
    """A cloud whose image changes every day, and whose failovers take what they take."""

    def __init__(self, load_balancers: int, chance: random.Random) -> None:
        self.now = BEGINNING
        self.chance = chance
        self.images = [self._image(0, created_at=BEGINNING - 60 * DAY, tagged=False)]
        self.load_balancers: dict[str, LoadBalancer] = {}
        self.on: dict[str, tuple[str, datetime]] = {}
        for number in range(load_balancers):
            name = f"lb-{number:03}"
            tags = frozenset({"canary"} if number in {7, 8} else ())
            long_ago = BEGINNING - 50 * DAY
            self.load_balancers[name] = balancer(
                name, tags=tags, created_at=long_ago, updated_at=long_ago
            )
            self.on[name] = (self.images[0].id, long_ago)
        self.moves: Counter[str] = Counter()

    @property
    def promoted(self) -> Image:
        return self.images[-1]

    def _image(self, number: int, *, created_at: datetime, tagged: bool = True) -> Image:
        made = image(number, tagged=tagged, properties={"retrofit_promoted_at": iso(created_at)})
        return replace(made, created_at=created_at)

    def promote(self) -> None:
        before = self.images[-1]
        self.images[-1] = replace(before, tags=frozenset())
        self.images.append(self._image(len(self.images), created_at=self.now))

    def observation(self, *, fixes: bool) -> FleetObservation:
        amphorae = tuple(
            amphora
            for number, name in enumerate(self.load_balancers)
            for amphora in amphorae_of(
                name,
                "pair" if number % 3 == 0 else "single",
                image=self.on[name][0],
                created_at=self.on[name][1],
            )
        )
        return FleetObservation(
            where="cloud",
            inventory=Inventory(images=tuple(self.images), own_project=OWN, now=self.now),
            identities=(Identity.of(TARGET, OWN),),
            fleet=Fleet(
                usage=Usage(amphorae=amphorae), load_balancers=tuple(self.load_balancers.values())
            ),
            images={each.id: each for each in self.images},
            freshness=self._freshness() if fixes else {},
        )

    def _freshness(self) -> dict[str, Freshness]:
        """Every day brings a fix, which all earlier images lack."""
        return {
            each.id: Freshness(
                image_id=each.id,
                offer=Offer(
                    checked_at=self.now,
                    newest_index=None,
                    updates=tuple(
                        Update(
                            package=f"package-{newer}",
                            source="source",
                            installed="1",
                            candidate="2",
                            kind=UpdateKind.SECURITY,
                        )
                        for newer in range(number + 1, len(self.images))
                    ),
                ),
            )
            for number, each in enumerate(self.images)
        }

    def write(self, record: str | None) -> None:
        """What a pass does: the record is on the promoted image, and on no other."""
        for number, each in enumerate(self.images):
            kept = {key: text for key, text in each.properties.items() if key != PROPERTY}
            if each is self.promoted and record is not None:
                kept[PROPERTY] = record
            self.images[number] = replace(each, properties=kept)

    def fail_over(self, name: str) -> None:
        self.moves[name] += 1
        self.now += timedelta(seconds=self.chance.uniform(60, 200))
        self.on[name] = (self.promoted.id, self.now)


@pytest.mark.parametrize("fixes", [False, True], ids=["by age", "a fix each day"])
def test_200_load_balancers_are_moved_within_14_days(fixes: bool) -> None:
    chance = random.Random(1)  # noqa: S311  (no secret)
    cloud = Cloud(200, chance)
    end = BEGINNING + 14 * DAY
    next_promotion = BEGINNING
    while cloud.now < end:
        if cloud.now >= next_promotion:
            cloud.promote()
            next_promotion += DAY + timedelta(minutes=chance.uniform(-90, 90))
        found = situation_of(TARGET, cloud.observation(fixes=fixes))
        decision = decide(found, TARGET.rollover)
        assert not isinstance(decision, Halted), decision
        assert found.record is not None
        cloud.write(None if isinstance(decision, Done) else found.record.as_text())
        if isinstance(decision, Step):
            assert is_open(TARGET.rollover, cloud.now, outage=True)
            cloud.fail_over(decision.candidate.id)
        elif isinstance(decision, Wait) and decision.until is not None:
            cloud.now = min(decision.until, max(next_promotion, cloud.now))
        else:
            cloud.now = next_promotion
        if len(cloud.moves) == 200:
            break
    assert set(cloud.moves) == set(cloud.load_balancers)
    assert set(cloud.moves.values()) == {1}  # none a second time before all have their turn
