"""A source is known to be the same, wherever it comes from, without being downloaded."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from retrofit.config import MirrorSettings, SourceSettings, Target
from retrofit.errors import MirrorError, SourceError
from retrofit.model import Source
from retrofit.plan import Decision, Facts, Inventory, Plan, decide, plan
from retrofit.publish.properties import recorded_hashes
from retrofit.source.choose import SourceChoice, choose_item, choose_source
from retrofit.source.trust import MirrorState
from tests.unit.images import NOW, OWN, amphora
from tests.unit.streams import copy_of, item, listing

ENTRY = item()
HASHES = {"sha512": "5" * 128, "sha256": ENTRY.sha256, "md5": str(ENTRY.md5)}
"""What a download of the entry's bytes gives, wherever they come from."""
MIRROR = choose_item(listing(ENTRY), SourceSettings())


def glance_choice(**fields: object) -> SourceChoice:
    image = copy_of(ENTRY, **{"hash_algo": "sha512", "hash_value": HASHES["sha512"], **fields})
    return choose_source([image], SourceSettings(), own_project=OWN)


def needed(choice: SourceChoice) -> Source:
    assert choice.source is not None
    return choice.source


def decision(recorded: Mapping[str, str], source: Source) -> Decision:
    image = amphora(
        1, tagged=True, properties={"retrofit_source_hash": None, **recorded}, version="20260911"
    )
    inventory = Inventory(images=(image,), own_project=OWN, now=NOW)
    return decide(inventory, Target(), source, recipe="sha256:recipe", force=False)


GLANCES = [
    {},
    {"hash_algo": "sha256", "hash_value": HASHES["sha256"]},
    {"hash_algo": None, "hash_value": None},
    {"hash_algo": None, "hash_value": None, "checksum": None},
]


@pytest.mark.parametrize("fields", GLANCES)
def test_an_image_made_from_glance_is_current_there(fields: dict[str, object]) -> None:
    source = needed(glance_choice(**fields))
    assert not decision(recorded_hashes(source, HASHES), source).build


@pytest.mark.parametrize("fields", GLANCES[:2])
def test_the_origin_may_change_without_a_build(fields: dict[str, object]) -> None:
    here, there = needed(glance_choice(**fields)), needed(MIRROR)
    assert not decision(recorded_hashes(here, HASHES), there).build
    assert not decision(recorded_hashes(there, HASHES), here).build
    assert not decision(recorded_hashes(there, HASHES), there).build


def test_both_origins_record_the_same() -> None:
    here, there = needed(glance_choice()), needed(MIRROR)
    assert recorded_hashes(here, HASHES) == recorded_hashes(there, HASHES)


@pytest.mark.parametrize("source", [needed(MIRROR), needed(glance_choice())])
def test_other_bytes_of_the_same_version_are_built(source: Source) -> None:
    other = recorded_hashes(source, HASHES) | {"retrofit_source_sha256": "0" * 64}
    if source.image is not None:
        other = {"retrofit_source_hash": f"sha512:{'0' * 128}"}
    assert decision(other, source).reasons == ("the bytes of source version 20260911 changed",)


def test_bytes_that_cannot_be_compared_are_built_once() -> None:
    before = {"retrofit_source_hash": f"sha512:{HASHES['sha512']}"}
    assert decision(before, needed(MIRROR)).build


def planned(choice: SourceChoice, mirror: MirrorState, *, made: bool) -> Plan:
    target = Target(
        source=SourceSettings(trust="signed"),
        mirror=MirrorSettings(url="file:///srv", keyring=__file__),
    )
    recorded = {**recorded_hashes(needed(choice), HASHES), "retrofit_source_trust": "signed"}
    images = (amphora(1, tagged=True, properties=recorded),) if made else ()
    facts = Facts(
        inventory=Inventory(images=images, own_project=OWN, now=NOW),
        choice=choice,
        recipe="sha256:recipe",
        mirror=mirror,
    )
    return plan(facts, target)


def test_a_plan_to_build_needs_the_trust_that_is_asked_for() -> None:
    down = MirrorState(error=MirrorError("the mirror is down", hint="wait"))
    with pytest.raises(SourceError, match="the mirror is down"):
        planned(glance_choice(), down, made=False).require()
    up = planned(glance_choice(), MirrorState(listing=listing(ENTRY)), made=False)
    up.require()
    assert up.require_provenance().level == "signed"


def test_a_plan_to_do_nothing_needs_none() -> None:
    down = MirrorState(error=MirrorError("the mirror is down", hint="wait"))
    _, decided = planned(glance_choice(), down, made=True).require()
    assert not decided.build
