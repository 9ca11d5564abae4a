"""Which load balancers are due, left or doubted, from what Glance and Octavia show."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.config import RolloverSettings, Target
from retrofit.control_plane.releases import stated
from retrofit.fleet.failover import FleetObservation
from retrofit.fleet.rollover.candidates import Candidate, candidates
from retrofit.fleet.rollover.record import Record, current_record, halt_on, record_on
from retrofit.fleet.rollover.situation import situation_of
from retrofit.model import Amphora, Fleet, Image, LoadBalancer, Usage
from retrofit.plan import Freshness, Identity, Inventory
from retrofit.times import iso
from tests.unit.fleet.rollover.made import LONG_BEFORE, amphorae_of, balancer
from tests.unit.images import NOW, OWN
from tests.unit.images import amphora as image

DAY = timedelta(days=1)
PROMOTED_AT = NOW - 2 * DAY


def promoted_at(days: float) -> dict[str, str]:
    return {"retrofit_promoted_at": iso(NOW - days * DAY)}


PROMOTED = image(9, tagged=True, age_hours=72, properties=promoted_at(2))
RECENT = image(8, age_hours=10 * 24, properties=promoted_at(9))
OLD = image(1, age_hours=40 * 24, properties=promoted_at(39))


def observed(
    *load_balancers: LoadBalancer,
    amphorae: tuple[Amphora, ...],
    images: tuple[Image, ...] = (PROMOTED, RECENT, OLD),
    target: Target | None = None,
    fleet: dict[str, Any] | None = None,
    **fields: Any,
) -> FleetObservation:
    return FleetObservation(
        where="cloud",
        inventory=Inventory(images=images, own_project=OWN, now=NOW),
        identities=(Identity.of(target or Target(), OWN),),
        fleet=Fleet(usage=Usage(amphorae=amphorae), load_balancers=load_balancers, **fleet or {}),
        images={each.id: each for each in images},
        **fields,
    )


def the_one(found: FleetObservation, record: Record | None = None, **rollover: Any) -> Candidate:
    target = Target(rollover=RolloverSettings.model_validate({"outages": "always", **rollover}))
    began = record or Record(began_at=PROMOTED_AT)
    (only,) = candidates(target, found, PROMOTED, began)
    return only


def on(which: Image | str, kind: str = "single", **lb: Any) -> FleetObservation:
    image_id = which if isinstance(which, str) else which.id
    return observed(balancer("lb", **lb), amphorae=amphorae_of("lb", kind, image=image_id))


def fix(image_id: str, *packages: str) -> Freshness:
    updates = tuple(
        Update(
            package=each,
            source=each,
            installed="1",
            candidate="2",
            kind=UpdateKind.SECURITY,
        )
        for each in packages
    )
    return Freshness(
        image_id=image_id, offer=Offer(checked_at=NOW, updates=updates, newest_index=None)
    )


def test_due_is_what_is_old_lacks_a_fix_or_was_rejected_and_not_merely_behind() -> None:
    assert the_one(on(RECENT)).due is None
    assert the_one(on(OLD)).due == f"its image {OLD.id} is 40 d old"
    assert the_one(on(RECENT), older_than=0).due is not None
    assert the_one(on(PROMOTED), older_than=0).due is None
    assert the_one(on("gone")).due == "Glance does not show its image gone"
    lacks = replace(on(RECENT), freshness={RECENT.id: fix(RECENT.id, "haproxy", "openssl")})
    assert the_one(lacks).due == f"its image {RECENT.id} lacks 2 security fixes"
    both = {RECENT.id: fix(RECENT.id, "haproxy"), PROMOTED.id: fix(PROMOTED.id, "haproxy")}
    assert the_one(replace(on(RECENT), freshness=both)).due is None
    rejected = replace(RECENT, properties={**RECENT.properties, "retrofit_rejected_at": iso(NOW)})
    lb = balancer("lb"), amphorae_of("lb", image=RECENT.id)
    found = observed(lb[0], amphorae=lb[1], images=(PROMOTED, rejected))
    assert the_one(found).due == f"its image {RECENT.id} was rejected"


def test_what_moved_in_this_rollover_stays_where_it_is() -> None:
    earlier = Record(began_at=NOW - 10 * DAY)
    lacks = replace(on(RECENT), freshness={RECENT.id: fix(RECENT.id, "haproxy")})
    assert the_one(lacks).due is not None
    one = the_one(lacks, earlier)
    assert (one.due, one.moved) == (None, True)


@pytest.mark.parametrize(
    ("lb", "fleet", "rollover", "reason"),
    [
        ({"tags": frozenset({"vip"})}, {}, {"exclude": {"tags": ["vip"]}}, "exclude"),
        ({}, {}, {"exclude": {"projects": ["project"]}}, "exclude"),
        ({"flavor_id": "f"}, {"flavors": {"f": "big"}}, {"exclude": {"flavors": ["big"]}}, "excl"),
        ({}, {}, {"only": {"tags": ["vip"]}}, "only"),
        ({"provider": "ovn"}, {}, {}, "provider ovn"),
        (
            {"flavor_id": "f"},
            {"flavors": {"f": "gpu"}, "image_tags": {"gpu": "other-tag"}},
            {},
            "names the image tag other-tag",
        ),
        ({}, {}, {"outages": "never"}, "never"),
    ],
)
def test_what_is_left_has_its_reason(
    lb: dict[str, Any], fleet: dict[str, Any], rollover: dict[str, Any], reason: str
) -> None:
    found = observed(balancer("lb", **lb), amphorae=amphorae_of("lb", image=OLD.id), fleet=fleet)
    one = the_one(found, **rollover)
    assert one.due
    assert reason in (one.left or "")


def test_only_and_the_own_tag_let_through_what_they_name() -> None:
    flavor = {"flavors": {"f": "mine"}, "image_tags": {"mine": "octavia-amphora"}}
    found = observed(
        balancer("lb", flavor_id="f", provider="octavia", tags=frozenset({"vip"})),
        amphorae=amphorae_of("lb", "pair", image=OLD.id),
        fleet=flavor,
    )
    assert the_one(found, only={"tags": ["vip"]}, outages="never").left is None


def test_what_the_promoted_image_would_break_is_left() -> None:
    old_haproxy = carrying(PROMOTED, haproxy_version="3.0.11")
    found = replace(
        observed(
            balancer("lb"),
            amphorae=amphorae_of("lb", image=OLD.id),
            images=(old_haproxy, OLD),
            fleet={"kinds": {"lb": frozenset({"http-monitor"})}},
        ),
        control_plane=stated("2025.1", "octavia.release"),
    )
    (one,) = candidates(Target(), found, old_haproxy, Record(began_at=PROMOTED_AT))
    assert "refuses what it has: http-monitor" in (one.left or "")


def test_new_trouble_is_a_doubt_and_old_trouble_is_left() -> None:
    before, since = PROMOTED_AT - DAY, PROMOTED_AT + DAY
    for which in (OLD, PROMOTED):
        fresh = the_one(on(which, status="ERROR", updated_at=since))
        assert fresh.doubt is not None
        assert "in ERROR" in fresh.doubt.reason
        assert the_one(on(which, status="ERROR", updated_at=before)).doubt is None
    known = the_one(on(OLD, status="ERROR", updated_at=before))
    assert "in ERROR" in (known.left or "")
    stuck = the_one(on(OLD, status="PENDING_UPDATE", updated_at=since))
    assert stuck.doubt is not None
    assert "only Octavia's operator" in stuck.doubt.reason
    waiting = the_one(on(OLD, status="PENDING_UPDATE", updated_at=NOW))
    assert (waiting.doubt, waiting.left) == (None, None)
    excluded = the_one(on(OLD, status="ERROR", updated_at=since), exclude={"projects": ["project"]})
    assert excluded.doubt is None


def test_what_a_person_has_seen_is_no_doubt_again_until_it_changes() -> None:
    found = on(OLD, status="ERROR", updated_at=NOW - DAY)
    doubt = the_one(found).doubt
    assert doubt is not None
    seen = Record(began_at=PROMOTED_AT, acknowledged={"lb": doubt.mark})
    again = the_one(found, seen)
    assert (again.doubt, again.left) == (None, None)  # another failover may mend it
    assert the_one(on(OLD, status="ERROR", updated_at=NOW), seen).doubt is not None
    stuck = on(OLD, status="PENDING_UPDATE", updated_at=NOW - DAY)
    mark = the_one(stuck).doubt
    assert mark is not None
    left = the_one(stuck, Record(began_at=PROMOTED_AT, acknowledged={"lb": mark.mark}))
    assert left.doubt is None
    assert "only Octavia's operator" in (left.left or "")


def test_an_amphora_that_started_from_another_image_is_a_doubt() -> None:
    foreign = replace(RECENT, id="foreign", properties={}, created_at=NOW - DAY)
    amphorae = amphorae_of("lb", image="foreign", created_at=NOW - timedelta(hours=1))
    found = observed(balancer("lb"), amphorae=amphorae, images=(PROMOTED, foreign))
    one = the_one(found)
    assert one.due == "it started from image foreign since the promotion"
    assert one.doubt is not None
    assert "not from the promoted image" in one.doubt.reason
    before = amphorae_of("lb", image="foreign", created_at=PROMOTED_AT - DAY)
    assert (
        the_one(observed(balancer("lb"), amphorae=before, images=(PROMOTED, foreign))).doubt is None
    )


def test_a_canary_is_due_with_every_image_that_others_are_due_for() -> None:
    lbs = balancer("c"), balancer("lb")
    amphorae = amphorae_of("c", image=RECENT.id) + amphorae_of("lb", image=OLD.id)
    target = Target(rollover=RolloverSettings(canaries=("c",), outages="always"))
    first, other = candidates(
        target, observed(*lbs, amphorae=amphorae), PROMOTED, Record(began_at=PROMOTED_AT)
    )
    assert (first.canary, first.due) == (True, "the first to try the image")
    assert other.due
    alone = observed(balancer("c"), amphorae=amphorae_of("c", image=RECENT.id))
    (canary,) = candidates(target, alone, PROMOTED, Record(began_at=PROMOTED_AT))
    assert canary.due is None


def test_what_runs_on_the_images_of_others_is_theirs() -> None:
    theirs = Target(name="jammy")
    jammy = image(7, target="jammy", age_hours=1000)
    found = replace(
        observed(
            balancer("lb"),
            amphorae=amphorae_of("lb", image=jammy.id),
            images=(PROMOTED, jammy),
        ),
        identities=(Identity.of(Target(), OWN), Identity.of(theirs, OWN)),
    )
    assert candidates(Target(), found, PROMOTED, Record(began_at=PROMOTED_AT)) == ()


def carrying(which: Image, **properties: str) -> Image:
    return replace(which, properties={**which.properties, **properties})


def test_a_rollover_goes_on_with_newer_images_unless_something_spoke_against_it() -> None:
    began = Record(began_at=NOW - 20 * DAY, failed={"x": "no"}, acknowledged={"y": "z"})
    earlier = carrying(RECENT, retrofit_rollover=began.as_text())
    assert record_on(earlier) == began
    assert current_record(PROMOTED, [PROMOTED, earlier]) == began
    new = Record(began_at=PROMOTED_AT)
    assert current_record(PROMOTED, [PROMOTED, RECENT]) == new
    rejected = carrying(earlier, retrofit_rejected_at=iso(NOW))
    assert current_record(PROMOTED, [PROMOTED, rejected]) == new
    halted = carrying(earlier, retrofit_rollover_halted="{}")
    assert current_record(PROMOTED, [PROMOTED, halted]) == new
    garbled = carrying(RECENT, retrofit_rollover="[1]")
    assert current_record(PROMOTED, [PROMOTED, garbled]) == new


def test_a_halt_that_cannot_be_read_still_holds() -> None:
    for text in ("{}", "nonsense", '{"since": 3}', "[]"):
        assert halt_on(carrying(PROMOTED, retrofit_rollover_halted=text)) is not None
    assert halt_on(PROMOTED) is None


def test_the_way_back_needs_no_soak() -> None:
    bad = carrying(image(9, properties=promoted_at(2)), retrofit_rejected_at=iso(NOW))
    back = image(8, tagged=True, age_hours=1100, properties=promoted_at(0))
    lb = balancer("lb"), amphorae_of("lb", image=bad.id)
    found = observed(lb[0], amphorae=lb[1], images=(bad, back))
    assert situation_of(Target(), found).soak_from is None
    forward = observed(balancer("lb"), amphorae=amphorae_of("lb", image=OLD.id))
    assert situation_of(Target(), forward).soak_from == PROMOTED_AT


def test_another_image_that_octavia_would_select_is_an_obstacle() -> None:
    foreign = replace(PROMOTED, id="foreign", owner="other", created_at=NOW, properties={})
    lb = balancer("lb"), amphorae_of("lb", image=OLD.id)
    found = observed(lb[0], amphorae=lb[1], images=(PROMOTED, OLD, foreign))
    assert "would select image foreign" in (situation_of(Target(), found).obstacle or "")
    assert situation_of(Target(), replace(found, owner=OWN)).obstacle is None


def test_the_last_failover_is_read_from_the_amphorae() -> None:
    moved = amphorae_of("lb", image=PROMOTED.id, created_at=NOW - timedelta(minutes=3))
    found = observed(balancer("lb"), amphorae=moved)
    assert situation_of(Target(), found).last_end == NOW - timedelta(minutes=3)
    newborn = observed(balancer("lb", created_at=NOW - timedelta(minutes=5)), amphorae=moved)
    assert situation_of(Target(), newborn).last_end is None
    # By a clock that is ahead of Glance's.
    ahead = amphorae_of("lb", image=PROMOTED.id, created_at=NOW + timedelta(minutes=3))
    found = observed(balancer("lb"), amphorae=ahead)
    assert situation_of(Target(), found).last_end == NOW
    assert LONG_BEFORE < PROMOTED_AT
