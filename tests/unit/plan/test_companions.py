"""Evidence belongs to one image, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan import Inventory, Machine
from retrofit.plan.companions import (
    companions_of,
    identity_of_companion,
    is_companion_of,
    orphans,
    to_move,
)
from retrofit.plan.identity import installation_id
from tests.unit.images import NOW, OWN, amphora

TARGET = Target()
IMAGE = amphora(1, properties={"retrofit_evidence_id": "evidence-1"})


def evidence(number: int = 1, **fields: Any) -> Image:
    properties = {
        "retrofit_evidence_of": f"amphora-{number:04}",
        "retrofit_evidence_target": "default",
        "retrofit_image_id": f"evidence-{number}",
        "retrofit_installation": installation_id(OWN, "octavia-amphora"),
        "retrofit_state_id": "this-state",
        **fields.pop("properties", {}),
    }
    return Image(
        **{
            "id": f"evidence-{number}",
            "name": "evidence",
            "status": "active",
            "owner": OWN,
            "created_at": NOW,
            "hidden": True,
            "properties": properties,
            **fields,
        }
    )


def seen(*images: Image, **machine: Any) -> Inventory:
    return Inventory(images=images, own_project=OWN, now=NOW, machine=Machine(**machine))


def test_image_and_companion_name_each_other() -> None:
    assert is_companion_of(evidence(), IMAGE)


NOT_OURS = {
    "a copy": {"properties": {"retrofit_image_id": "another"}},
    "of another project": {"owner": "another"},
    "tagged": {"tags": frozenset({"any"})},
    "protected": {"protected": True},
    "a snapshot": {"properties": {"image_type": "snapshot"}},
}


@pytest.mark.parametrize("change", NOT_OURS.values(), ids=NOT_OURS)
def test_what_others_may_need_is_neither_companion_nor_orphan(change: dict[str, Any]) -> None:
    assert not is_companion_of(evidence(**change), IMAGE)
    assert orphans(seen(evidence(**change)), TARGET) == []


def test_the_image_has_to_name_it_as_well() -> None:
    assert not is_companion_of(evidence(), amphora(1))
    assert not is_companion_of(evidence(2), IMAGE)


def test_orphans_have_lost_their_image() -> None:
    assert orphans(seen(IMAGE, evidence()), TARGET) == []
    assert orphans(seen(evidence()), TARGET) == [evidence()]


@pytest.mark.parametrize("name", ["retrofit_installation", "retrofit_evidence_target"])
def test_evidence_of_others_is_left_alone(name: str) -> None:
    theirs = evidence(properties={name: "another"})
    assert orphans(seen(theirs), TARGET) == []
    assert companions_of(amphora(1), seen(theirs), TARGET) == []
    assert companions_of(IMAGE, seen(theirs), TARGET) == [theirs]  # adopted with its image


def test_evidence_that_a_dead_run_did_not_name_goes_with_its_image_too() -> None:
    assert companions_of(amphora(1), seen(evidence()), TARGET) == [evidence()]


@pytest.mark.parametrize(("state_id", "dead"), [("this-state", True), ("another", False)])
def test_unfinished_evidence_is_an_orphan_where_our_lock_proves_its_run_dead(
    state_id: str, dead: bool
) -> None:
    record = evidence(status="queued", properties={"retrofit_state_id": state_id})
    inventory = seen(IMAGE, record, state_id="this-state", lock_shared=False)
    assert orphans(inventory, TARGET) == ([record] if dead else [])


OTHER_NAMES = [
    {"retrofit_installation": installation_id(OWN, "former-tag")},
    {"retrofit_evidence_target": "former"},
    {"retrofit_installation": "another", "retrofit_evidence_target": "another"},
]


@pytest.mark.parametrize("names", OTHER_NAMES, ids=["tag", "target", "installation"])
def test_evidence_moves_with_its_image(names: dict[str, str]) -> None:
    record = evidence(properties=names)
    assert to_move(IMAGE, [record], TARGET) == [record]
    moved = evidence(properties={**names, **identity_of_companion(TARGET, OWN)})
    assert to_move(IMAGE, [moved], TARGET) == []


def test_evidence_that_an_image_does_not_name_moves_where_both_are_of_one_installation() -> None:
    record = evidence(properties={"retrofit_installation": "another"})
    same = amphora(1, properties={"retrofit_installation": "another"})
    assert to_move(same, [record], TARGET) == [record]
    assert to_move(amphora(1), [record], TARGET) == []


@pytest.mark.parametrize("change", NOT_OURS.values(), ids=NOT_OURS)
def test_what_others_may_need_does_not_move(change: dict[str, Any]) -> None:
    names = {"retrofit_installation": "another", **change.get("properties", {})}
    assert to_move(IMAGE, [evidence(**{**change, "properties": names})], TARGET) == []


def test_evidence_of_another_image_does_not_move() -> None:
    record = evidence(2, properties={"retrofit_installation": "another"})
    assert to_move(IMAGE, [record], TARGET) == []


def test_no_plan_takes_evidence_for_an_amphora_image() -> None:
    inventory = seen(IMAGE, evidence())
    assert inventory.ours(TARGET) == [IMAGE]
    assert inventory.look_alikes(TARGET) == []
