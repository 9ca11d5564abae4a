"""Images that stay although retention lets them go, and for how long; word for word."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from retrofit.config import PublishSettings, Target
from retrofit.model import Amphora, Image, Usage
from retrofit.plan import Inventory, Machine
from retrofit.plan.inventory import leftovers
from retrofit.plan.rotation import CLOCK_SKEW, Rotation, displaced, rotate
from tests.unit.images import NOW, OWN, amphora

TAGGED = frozenset({"octavia-amphora"})
TARGET = Target(publish=PublishSettings(keep=1, retire_after=24))
LEFT = NOW - timedelta(hours=30)
DEMOTED = {"retrofit_demoted_at": LEFT.isoformat()}


def rotation(*images: Image, usage: Usage | None = None) -> Rotation:
    standing = amphora(9, tagged=True)
    inventory = Inventory(images=(standing, *images), own_project=OWN, now=NOW)
    return rotate(inventory, TARGET, promoted=standing.id, usage=usage or Usage())


def starting(created_at: datetime) -> Usage:
    return Usage(amphorae=(Amphora(id="vm", status="BOOTING", created_at=created_at),))


def old(**properties: Any) -> Image:
    return amphora(1, promoted_before=True, properties={**DEMOTED, **properties})


@pytest.mark.parametrize(("hours", "stays"), [(None, True), (1, True), (-1, False)])
def test_an_image_stays_while_the_pause_that_it_carries_is_in_force(
    hours: int | None, stays: bool
) -> None:
    until = None if hours is None else (NOW + timedelta(hours=hours)).isoformat()
    image = old(retrofit_paused=json.dumps({"reason": "x", "by": "y", "until": until}))
    found = rotation(image)
    assert found.notes == (
        ("image amphora-0001 carries a pause: kept until `retrofit --target default resume`",)
        if stays
        else ()
    )
    assert bool(found.retire) is not stays


@pytest.mark.parametrize(
    ("after", "stays"),
    [(CLOCK_SKEW, True), (CLOCK_SKEW + timedelta(seconds=1), False), (-CLOCK_SKEW, True)],
)
def test_an_image_stays_for_an_amphora_that_began_before_its_demotion(
    after: timedelta, stays: bool
) -> None:
    found = rotation(old(), usage=starting(LEFT + after))
    assert bool(found.notes) is stays
    assert bool(found.retire) is not stays


def test_an_image_of_another_product_that_a_person_rejected_is_retired() -> None:
    """Only of the same product it shows what a rollback rejected."""
    rejected = {"retrofit_rejected_at": LEFT.isoformat()}
    newer = amphora(1, version="20260912", properties=rejected)
    assert rotation(newer).retire == ()
    other = amphora(1, version="20260912", properties={**rejected, "source_product_name": "custom"})
    assert rotation(other).retire == (other,)


def test_the_charms_images_are_those_without_our_target() -> None:
    tags = frozenset({"octavia-diskimage-retrofit", "octavia-amphora"})
    ours = amphora(1, tags=tags, target="other")
    inventory = Inventory(images=(ours,), own_project=OWN, now=NOW)
    assert inventory.of_the_charm(TARGET) == []


@pytest.mark.parametrize(("seconds", "stays"), [(1, True), (0, False)])
def test_an_image_is_free_from_the_very_second_on(seconds: int, stays: bool) -> None:
    left = NOW - timedelta(hours=24) + timedelta(seconds=seconds)
    image = old(retrofit_demoted_at=left.isoformat())
    assert bool(rotation(image).retire) is not stays


@pytest.mark.parametrize(("seconds", "stays"), [(1, True), (0, False)])
def test_an_image_of_unknown_use_is_free_from_the_very_second_on(seconds: int, stays: bool) -> None:
    left = NOW - timedelta(days=30) + timedelta(seconds=seconds)
    image = old(retrofit_demoted_at=left.isoformat())
    usage = Usage(unknown="Octavia cannot be asked")
    assert bool(rotation(image, usage=usage).retire) is not stays


def test_an_image_that_has_the_tag_and_no_mark_has_served() -> None:
    """A run died between tag and mark: a rollback goes there before what never served."""
    target = Target(publish=PublishSettings(keep=2, retire_after=0))
    served, newer, standing = amphora(1, tags=TAGGED), amphora(2), amphora(9, tagged=True)
    inventory = Inventory(images=(served, newer, standing), own_project=OWN, now=NOW)
    found = rotate(inventory, target, promoted=standing.id, usage=Usage())
    assert found.retire == (newer,)


@pytest.mark.parametrize(("state_id", "cleaned_up"), [("this-state", True), ("another", False)])
def test_an_unfinished_record_of_this_machine_is_of_a_dead_run(
    state_id: str, cleaned_up: bool
) -> None:
    record = amphora(1, status="queued", age_hours=1, properties={"retrofit_state_id": state_id})
    alone = Machine(state_id="this-state", lock_shared=False)
    inventory = Inventory(images=(record,), own_project=OWN, now=NOW, machine=alone)
    found = leftovers(inventory, TARGET)
    assert found == ([record] if cleaned_up else [])


def test_what_a_person_hid_is_rejected_and_not_only_demoted() -> None:
    # Without its tag nothing would show any more that a person hid it: a run would promote it.
    hidden = amphora(1, tagged=True, hidden=True)
    assert rotation(hidden).reject == (hidden,)
    assert rotation(hidden).demote == (hidden,)
    shared = amphora(2, tagged=True, hidden=True, tags=TAGGED | {"pinned"})
    assert rotation(shared).reject == ()


def test_an_unfinished_record_that_somebody_tagged_stays() -> None:
    found = [amphora(1, status="saving"), amphora(2, status="saving", tags=frozenset({"kept"}))]
    inventory = Inventory(images=tuple(found), own_project=OWN, now=NOW)
    assert leftovers(inventory, TARGET) == found[:1]


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, ["amphora-0009"]), (2, ["amphora-0002"]), (3, ["amphora-0001"]), (4, [])],
)
def test_a_new_image_displaces_the_oldest_that_is_kept(keep: int, left: list[str]) -> None:
    target = Target(publish=PublishSettings(keep=keep))
    images = (
        amphora(9, tagged=True),
        amphora(2, promoted_before=True),
        amphora(1, promoted_before=True),
    )
    inventory = Inventory(images=images, own_project=OWN, now=NOW)
    found = displaced(inventory, target, promoted="amphora-0009")
    assert [image.id for image in found] == left
    assert displaced(inventory, target, promoted=None) == ()


def test_every_image_that_stays_has_a_reason() -> None:
    rejected = amphora(5, properties={"retrofit_rejected_at": "2026-11-20T00:00:00+00:00"})
    images = [*(amphora(number, promoted_before=True) for number in range(1, 5)), rejected]
    found = rotation(*images)
    named = {each.split()[1] for each in (*found.notes, *found.kept)}
    everything = {"amphora-0009", *(image.id for image in images)}
    assert named | {image.id for image in found.retire} == everything
    assert "image amphora-0009 is promoted: kept" in found.kept
