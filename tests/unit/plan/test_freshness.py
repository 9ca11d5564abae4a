"""Newer packages are a reason to build once, and never where nobody knows of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.config import BuildSettings, FreshnessSettings, SourceSettings, Target
from retrofit.model import Image
from retrofit.plan import Decision, FailedBuild, Freshness, Inventory, decide, inputs_of
from retrofit.plan.freshness import notes, reasons
from retrofit.source.choose import choose_source
from retrofit.status.models import FreshnessDocument
from tests.unit.images import NOW, OWN, amphora, synced

TARGET = Target(source=SourceSettings(series=["noble"]))
PROMOTED = amphora(5, tagged=True, age_hours=24)


def update(package: str = "haproxy", kind: str = "security", **fields: Any) -> Update:
    values = {"source": package, "installed": "1", "candidate": "2", **fields}
    return Update(package=package, kind=UpdateKind(kind), **values)


def offered(*updates: Update, **fields: Any) -> Freshness:
    offer = Offer(checked_at=NOW, updates=updates, newest_index=NOW)
    seen = {each.key: NOW - timedelta(days=2) for each in updates}
    return Freshness(**{"image_id": PROMOTED.id, "offer": offer, "first_seen": seen, **fields})


def target(upgrade: str = "packages", **rules: Any) -> Target:
    return TARGET.model_copy(
        update={
            "freshness": FreshnessSettings(**rules),
            "build": BuildSettings.model_validate({"upgrade": upgrade}),
        }
    )


def why(freshness: Freshness, settings: Target = TARGET, promoted: Image = PROMOTED) -> list[str]:
    return list(reasons(freshness, settings, promoted, NOW))


def decided(
    freshness: Freshness | None, *images: Image, settings: Target = TARGET, **more: Any
) -> Decision:
    listed = (synced(), *(images or (PROMOTED,)))
    source = choose_source(listed, settings.source, own_project=OWN).source
    assert source is not None
    inventory = Inventory(images=listed, own_project=OWN, now=NOW)
    return decide(
        inventory,
        settings,
        source,
        recipe="sha256:recipe",
        force=False,
        freshness=freshness,
        **more,
    )


class TestReasons:
    def test_a_security_fix_is_one_and_names_the_package_with_its_versions(self) -> None:
        assert why(offered(update())) == ["1 security update: haproxy 1 -> 2"]

    def test_three_are_named_and_the_others_counted(self) -> None:
        many = [update(f"p{number}") for number in range(5)]
        assert why(offered(*many))[0].startswith("5 security updates: p0 1 -> 2, p1")
        assert why(offered(*many))[0].endswith(", and 2 more")

    @pytest.mark.parametrize("kind", ["other", "held"])
    def test_no_other_update_is_one_by_default(self, kind: str) -> None:
        assert why(offered(update(kind=kind))) == []

    @pytest.mark.parametrize(
        "settings",
        [target(check=False), target(build_for="never"), target(upgrade="none")],
        ids=["check", "build_for", "upgrade"],
    )
    def test_none_is_where_no_build_is_wanted_or_would_bring_it(self, settings: Target) -> None:
        assert why(offered(update()), settings) == []

    def test_what_is_unknown_is_none(self) -> None:
        assert why(Freshness(image_id=PROMOTED.id, unknown="no answer")) == []

    def test_what_was_known_before_the_archive_fell_silent_is_none(self) -> None:
        assert why(offered(update(), unknown="no answer")) == []

    @pytest.mark.parametrize("upgrade", ["packages", "none"])
    def test_a_release_of_the_agent_is_another_update(self, upgrade: str) -> None:
        release = offered(update("octavia", "agent"))
        assert why(release, target(upgrade)) == []
        rules = {"build_for": "any", "at_most_every": 0, "gather": 0}
        assert why(release, target(upgrade, **rules)) == ["1 update: octavia 1 -> 2"]

    def test_a_release_of_the_agent_with_a_fix_is_one(self) -> None:
        release = offered(update("octavia", "agent", has_fix=True))
        assert why(release) == ["1 security update: octavia 1 -> 2"]
        assert why(release, target(build_for="never")) == []

    def test_a_release_that_a_build_did_not_bring_is_none(self) -> None:
        release = update("octavia", "agent", has_fix=True)
        made = offered(release)
        assert made.taken == {release.key}
        assert why(offered(release, offered=made.taken)) == []

    def test_packages_count_where_nobody_knows_of_the_agent(self) -> None:
        known = offered(update())
        assert known.offer is not None
        partly = replace(known, offer=replace(known.offer, agent_unknown="no index"))
        assert why(partly) == ["1 security update: haproxy 1 -> 2"]
        assert (partly.as_dict()["unknown"], partly.as_dict()["agent_unknown"]) == (
            "no index", "no index",
        )  # fmt: skip
        assert any(
            "the agent of image" in note and "no index" in note for note in notes(partly, TARGET)
        )
        assert Freshness.from_dict(partly.as_dict()) == partly

    def test_an_answer_about_another_image_is_none(self) -> None:
        assert why(offered(update(), image_id="another")) == []

    def test_what_a_build_did_not_bring_is_none_and_a_later_fix_is(self) -> None:
        before = frozenset({("haproxy", "2")})
        assert why(offered(update(), offered=before)) == []
        assert why(offered(update(candidate="3"), offered=before)) == [
            "1 security update: haproxy 1 -> 3"
        ]


class TestOtherUpdates:
    def test_wait_until_the_image_has_stood_and_others_have_come(self) -> None:
        settings = target(build_for="any", at_most_every=24, gather=48)
        assert why(offered(update(kind="other")), settings) == ["1 update: haproxy 1 -> 2"]

    @pytest.mark.parametrize("rules", [{"at_most_every": 25}, {"gather": 49}])
    def test_wait_longer_where_either_is_longer(self, rules: dict[str, int]) -> None:
        settings = target(build_for="any", **{"at_most_every": 24, "gather": 48, **rules})
        assert why(offered(update(kind="other")), settings) == []

    def test_security_fixes_wait_for_neither(self) -> None:
        settings = target(build_for="any", at_most_every=1000, gather=1000)
        assert why(offered(update()), settings) == ["1 security update: haproxy 1 -> 2"]


class TestDecision:
    def test_a_fix_builds(self) -> None:
        made = decided(offered(update()))
        assert (made.build, made.reasons) == (True, ("1 security update: haproxy 1 -> 2",))

    def test_without_a_fix_nothing_is_built(self) -> None:
        assert not decided(offered(update(kind="held"))).build
        assert not decided(None).build

    def test_an_older_image_of_the_same_inputs_is_not_taken_for_newer_packages(self) -> None:
        older = amphora(4, promoted_before=True)
        made = decided(offered(update()), PROMOTED, older)
        assert (made.build, made.promote) == (True, None)

    def test_one_that_was_built_for_them_and_not_yet_promoted_is(self) -> None:
        newer = amphora(6, age_hours=1)
        made = decided(offered(update()), PROMOTED, newer)
        assert (made.build, made.promote) == (False, newer)

    def test_nothing_is_promoted_where_nothing_is_newer(self) -> None:
        assert decided(None, PROMOTED, amphora(6, age_hours=1)).promote is None

    def test_a_failed_build_waits_for_the_same_offer_and_not_for_another(self) -> None:
        source = choose_source((synced(),), TARGET.source, own_project=OWN).source
        assert source is not None
        first, second = offered(update()), offered(update(candidate="3"))
        failed = FailedBuild(
            inputs=inputs_of(source, "sha256:recipe", first),
            count=1,
            last_at=NOW,
            code="build",
            message="no",
            run_id="run",
        )
        assert decided(first, failed=failed).held_back == failed
        assert decided(second, failed=failed).build
        unknown = Freshness(image_id=PROMOTED.id, unknown="no answer")
        changed = amphora(5, tagged=True, recipe="other")
        assert decided(unknown, changed, failed=failed).held_back == failed


class TestNotes:
    def test_what_is_unknown_is_said(self) -> None:
        (note,) = notes(Freshness(image_id="x", unknown="no answer"), TARGET)
        assert "it is not known what is newer than in image x: no answer" in note

    def test_held_fixes_come_with_a_newer_source(self) -> None:
        kernel = update("linux-image", "held", has_fix=True)
        (note,) = notes(offered(kernel), TARGET)
        assert "they come with a newer source image" in note
        assert notes(offered(replace(kernel, has_fix=False)), TARGET) == []

    @pytest.mark.parametrize(
        ("settings", "setting"),
        [(target(upgrade="none"), "build.upgrade"), (target(build_for="never"), "build_for")],
        ids=["upgrade", "build_for"],
    )
    def test_fixes_that_no_build_brings_are_said(self, settings: Target, setting: str) -> None:
        (note,) = notes(offered(update()), settings)
        assert setting in note

    def test_fixes_that_a_build_did_not_bring_are_said(self) -> None:
        (note,) = notes(offered(update(), offered=frozenset({("haproxy", "2")})), TARGET)
        assert "not in it; it is not built again for them" in note

    def test_a_frozen_archive_is_said(self) -> None:
        offer = Offer(checked_at=NOW, updates=(), newest_index=None, warnings=("frozen",))
        assert notes(Freshness(image_id="x", offer=offer), TARGET) == ["frozen"]


def test_as_json_types() -> None:
    document = offered(
        update(cves=("CVE-2026-1234",)),
        update("libc6", "other"),
        update("grub", "held"),
        update("octavia", "agent"),
    ).as_dict()
    assert document["security"] == [
        {
            "package": "haproxy",
            "source": "haproxy",
            "installed": "1",
            "candidate": "2",
            "cves": ["CVE-2026-1234"],
            "security": True,
            "since": "2026-11-20T12:00:00+00:00",
            "not_brought": False,
        }
    ]
    assert [len(document[kind]) for kind in ("other", "held", "agent")] == [1, 1, 1]
    assert document["unknown"] is None
    assert document["checked_at"] == "2026-11-22T12:00:00+00:00"


def test_names_that_others_read() -> None:
    every = offered(*(update(str(kind), str(kind)) for kind in UpdateKind))
    for known in (every, Freshness(image_id="x", unknown="no answer")):
        document = known.as_dict()
        lists = ("security", "other", "held", "agent")
        assert document.keys() >= {"checked_at", "unknown", *lists}
        for name in lists:
            assert [each["package"] for each in document[name]] == ([name] if known.offer else [])
            for each in document[name]:
                assert each.keys() >= {"package", "installed", "candidate", "cves"}
        # Page, status and metrics read it as this model.
        assert FreshnessDocument.model_validate(document).as_dict().keys() == document.keys()


@pytest.mark.parametrize(
    "freshness",
    [
        offered(update(), update("libc6", "other"), update("grub", "held", has_fix=True)),
        offered(update(), offered=frozenset({("haproxy", "2")}), unknown="no answer"),
        offered(
            update("octavia", "agent", has_fix=True, cves=("CVE-2026-1234",)), update("a", "agent")
        ),
        Freshness(image_id="x", unknown="no evidence"),
    ],
)
def test_a_record_is_read_as_it_was_written(freshness: Freshness) -> None:
    assert Freshness.from_dict(freshness.as_dict()) == freshness


@pytest.mark.parametrize("change", [{"security": 1}, {"held": [{}]}, {"image": None, "other": [1]}])
def test_a_record_of_another_form_is_none(change: dict[str, Any]) -> None:
    assert Freshness.from_dict({**offered(update()).as_dict(), **change}) is None
    assert Freshness.from_dict({}) is None
