"""The document of a plan has every part of it, under names that others read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from retrofit.config import PublishSettings, SourceSettings, Target
from retrofit.errors import MirrorError, SourceError
from retrofit.model import Image
from retrofit.plan import (
    Facts,
    FailedBuild,
    Inventory,
    Machine,
    Pause,
    inputs_of,
    needs_usage,
    plan,
    wants_build,
)
from retrofit.plan.document import plan_as_dict
from retrofit.source.choose import choose_item, choose_source
from retrofit.source.trust import MirrorState
from tests.unit.images import NOW, OWN, amphora, synced
from tests.unit.streams import item, listing

TARGET = Target(publish=PublishSettings(keep=1, retire_after=0, retire_after_unknown=0))
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
CURRENT = synced("20260911")


def facts(*images: Image, source: Image | None = CURRENT, **given: Any) -> Facts:
    sources = [synced("20260910"), *([source] if source else [])] if source else []
    choice = choose_source(sources, SourceSettings(), own_project=OWN)
    return Facts(
        inventory=Inventory(images=images, own_project=OWN, now=NOW),
        choice=choice,
        recipe="sha256:recipe",
        **given,
    )


def document(*images: Image, target: Target = TARGET, **given: Any) -> dict[str, Any]:
    return plan_as_dict(plan(facts(*images, **given), target))


def test_a_build_over_a_promoted_image_is_shown_in_full() -> None:
    shown = document(
        amphora(1, version="20260909", promoted_before=True),
        amphora(2, version="20260910", tagged=True),
        amphora(3, status="queued", age_hours=1),
        warnings=("the clock is wrong",),
    )
    assert shown == {
        "target": "default",
        "action": "build",
        "paused": None,
        "reasons": shown["reasons"],
        "held_back_by": None,
        "notes": shown["notes"],
        "octavia_release": None,
        "wanted": "series noble, jammy; architecture x86_64; variant server",
        "trust": {"level": "owner", "note": shown["trust"]["note"]},
        "source": {"id": CURRENT.id, "product": PRODUCT, "version": "20260911"},
        "rejected": [
            {
                "image": "auto-sync/ubuntu-24.04-20260910-disk1.img"
                " (source-24.04-20260910-disk1.img)",
                "reason": f"{CURRENT.name} is preferred",
            }
        ],
        "promoted": "amphora-0002",
        "repair": None,
        "promote": None,
        "demote": ["amphora-0002"],
        "freshness": None,
        "carry_over": [],
        "retire": ["amphora-0001"],
        "displaced": ["amphora-0002"],
        "clean_up": ["amphora-0003"],
    }
    assert shown["reasons"]
    assert all("20260911" in reason for reason in shown["reasons"])
    assert shown["notes"][0] == "the clock is wrong"
    assert shown["trust"]["note"].startswith('source trusted as "owner"')


def test_without_a_promoted_image_a_build_demotes_nothing() -> None:
    shown = document()
    assert (shown["action"], shown["promoted"], shown["demote"]) == ("build", None, [])


def test_what_is_current_needs_nothing() -> None:
    shown = document(amphora(2, tagged=True))
    assert shown["action"] == "none"
    assert (shown["promoted"], shown["promote"], shown["demote"]) == ("amphora-0002", None, [])
    assert shown["trust"] is None


def test_two_tagged_images_lose_one_without_a_build() -> None:
    shown = document(amphora(1, tagged=True), amphora(2, tagged=True))
    assert (shown["action"], shown["demote"]) == ("none", ["amphora-0001"])


def test_a_finished_image_is_promoted() -> None:
    shown = document(amphora(2, properties={"retrofit_verified_at": NOW.isoformat()}))
    assert (shown["action"], shown["promote"]) == ("promote", "amphora-0002")
    assert shown["reasons"]


def test_a_failed_build_waits() -> None:
    source = choose_source([CURRENT], SourceSettings(), own_project=OWN).source
    assert source is not None
    failed = FailedBuild(
        inputs=inputs_of(source, "sha256:recipe"),
        count=1,
        last_at=NOW - timedelta(minutes=1),
        code="build-failed",
        message="no space",
        run_id="20261122T115900Z-abcdef",
    )
    shown = document(failed=failed)
    assert (shown["action"], shown["held_back_by"]) == ("wait", failed.as_dict())


def test_a_pause_is_shown_before_what_a_run_would_do() -> None:
    pause = Pause(reason="upgrade", since=NOW, by="ops", until=NOW + timedelta(hours=1))
    shown = document(pause=pause)
    assert (shown["action"], shown["paused"]) == ("paused", pause.as_dict())


@pytest.mark.parametrize("source", [None, CURRENT])
def test_no_source_or_one_that_is_not_trusted_fails(source: Image | None) -> None:
    target = TARGET.model_copy(
        update={"source": SourceSettings(trust="signed")},
    )
    down = MirrorState(error=MirrorError("the mirror is down", hint="wait"))
    shown = document(source=source, target=target, mirror=down)
    assert (shown["action"], shown["trust"]) == ("fail", None)
    assert (shown["source"] is None) == (source is None)


def test_octavia_is_asked_where_an_image_would_be_retired() -> None:
    over = amphora(1, version="20260909", promoted_before=True)
    current = amphora(2, tagged=True)
    fresh = amphora(3, properties={"retrofit_verified_at": NOW.isoformat()})
    assert needs_usage(facts(over, current), TARGET)
    assert not needs_usage(facts(current), TARGET)
    assert not needs_usage(facts(over), TARGET)
    assert needs_usage(facts(over, fresh), TARGET), "the fresh one is promoted, the other goes"


def test_a_plan_without_source_raises_why() -> None:
    with pytest.raises(SourceError, match="no usable source image"):
        plan(facts(source=None), TARGET).require()


def test_a_plan_with_a_refused_source_raises_why() -> None:
    target = TARGET.model_copy(update={"source": SourceSettings(trust="signed")})
    refused = plan(facts(), target)
    with pytest.raises(SourceError, match="cannot be trusted"):
        refused.require()
    with pytest.raises(ValueError, match=r"^no build was decided, or its source was refused$"):
        refused.require_provenance()


def test_a_plan_gives_source_decision_and_provenance() -> None:
    made = plan(facts(), TARGET)
    assert made.require() == (made.choice.source, made.decision)
    assert made.require_provenance() is made.provenance


def test_a_shared_lock_shows_that_every_other_machines_run_is_dead() -> None:
    elsewhere = amphora(3, status="queued", properties={"retrofit_state_id": "other-state"})
    for shared, found in ((True, ["amphora-0003"]), (False, [])):
        made = facts(elsewhere)
        machine = Machine(state_id="this-state", lock_shared=shared)
        seen = replace(made, inventory=replace(made.inventory, machine=machine))
        assert plan_as_dict(plan(seen, TARGET))["clean_up"] == found


def test_a_source_is_the_same_where_its_sha256_is() -> None:
    bytes_of = {"hash_algo": "sha256", "hash_value": "a" * 64}
    recorded = {"retrofit_source_sha256": "a" * 64, "retrofit_source_hash": f"sha512:{'b' * 128}"}
    current = amphora(2, tagged=True, properties=recorded)
    assert document(current, source=synced(**bytes_of))["action"] == "none"
    other = synced(**{**bytes_of, "hash_value": "c" * 64})
    shown = document(current, source=other)
    assert shown["reasons"] == ["the bytes of source version 20260911 changed"]


def test_the_notes_of_a_decision_are_shown_between_warnings_and_rotation() -> None:
    shown = document(
        amphora(1, promoted_before=True, protected=True),
        amphora(2, promoted_before=True),
        amphora(3, version="20260912", tagged=True),
        warnings=("the clock is wrong",),
    )
    assert [note.split(":")[0] for note in shown["notes"]] == [
        "the clock is wrong",
        "the best source now is com.ubuntu.cloud",
        "image amphora-0001 is protected",
    ]


def test_a_forced_plan_builds_what_is_current() -> None:
    assert document(amphora(2, tagged=True), force=True)["action"] == "build"


def test_the_finished_images_are_known() -> None:
    made = plan(facts(amphora(1), amphora(2, status="queued")), TARGET)
    assert made.known_ids == {"amphora-0001"}


def test_a_source_of_a_mirror_is_vouched_for_by_the_mirror() -> None:
    offered = listing(item())
    given = facts(mirror=MirrorState(listing=offered))
    choice = choose_item(offered, SourceSettings())
    made = plan(replace(given, choice=choice), TARGET)
    assert made.refusal is None
    assert made.require_provenance().by.endswith(f"index of {offered.where}")


def test_only_a_run_that_builds_needs_octavias_release() -> None:
    assert wants_build(facts(), TARGET)
    assert wants_build(facts(amphora(2, tagged=True), force=True), TARGET)
    assert not wants_build(facts(amphora(2, tagged=True)), TARGET)
    assert not wants_build(facts(source=None), TARGET)
