"""The first plan and the first run after an upgrade from 0.1.0, which itself made what they find.

The tests go along one history, in the order of this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diskimage_builder import paths

from retrofit.build import recipe
from retrofit.config.file import load
from retrofit.config.renamed import CHANGES
from retrofit.errors import BuildError
from retrofit.system import own_elements
from tests.integration.harness import Answer, CloudHarness
from tests.integration.receiver import Receiver
from tests.upgrade.world import BUILD_ERROR, REASON, TAGS, TARGETS, VERSIONS, World, reports_of, run

OUTCOMES = {"waiting": "backoff", "busy": "locked"}
STEPS = {"sweep": "clean-up"}
"""What 0.1.0 calls outcomes and steps, and how they are called now."""
UNTOUCHED = ("rolled 1", "rolled 2", "rolled 3", "paused 1", "failing 1", "aged 3")


@pytest.fixture(scope="module", autouse=True)
def same_elements(old: World) -> Iterator[None]:
    """Build with the elements of 0.1.0: what is built anew then is so without a reason."""
    source, python = old.machine.release.source, old.machine.release.python
    theirs = next(python.parents[1].glob("lib/python*/site-packages/diskimage_builder/elements"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_elements, "PACKAGE", source / "retrofit")
        patch.setattr(paths, "get_path", lambda _: str(theirs))
        patch.setattr(recipe, "SCHEMA", 1)
        patch.setattr(recipe, "tree_digest", tree_digest_of_0_1_0)
        yield


def tree_digest_of_0_1_0(directory: Path) -> str:
    """Return the digest of an element as 0.1.0 counted it: of a mode, the run bit alone."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts or not path.exists():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        runs = "x" if path.stat().st_mode & 0o100 else "-"
        total.update(f"{path.relative_to(directory)}\0{runs}\0{content}\n".encode())
    return total.hexdigest()


@pytest.fixture(scope="module")
def harness(old: World) -> CloudHarness:
    return old.machine.harness


@pytest.fixture(scope="module")
def plans(harness: CloudHarness) -> dict[str, Any]:
    """The first plan, by target; nothing may change by it."""
    return {plan["target"]: plan for plan in harness.read("plan")["plans"]}


@pytest.fixture(scope="module")
def first_status(harness: CloudHarness, plans: dict[str, Any]) -> dict[str, Any]:
    """How targets stand before any run of this version."""
    assert plans
    return by_target(harness.read("status")["targets"])


@pytest.fixture(scope="module")
def first_history(harness: CloudHarness, first_status: dict[str, Any]) -> list[dict[str, Any]]:
    assert first_status
    return list(harness.read("history", "-n", "1000"))


@pytest.fixture(scope="module")
def first_run(harness: CloudHarness, first_history: list[Any]) -> dict[str, Any]:
    """The reports of the first run, by target; Octavia's driver is asked about each of them."""
    assert first_history
    return by_target(harness.act("run-once", exit_code=5)["runs"])


def by_target(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {document["target"]: document for document in documents}
    assert set(found) == set(TARGETS)
    return found


@pytest.mark.slow
def test_the_configuration_is_refused_with_every_new_name(old: World) -> None:
    harness, config = old.machine.harness, old.machine.config
    answer: Answer = harness.retrofit("--config", str(config), "config", "check", exit_code=2)
    for change in CHANGES:
        if change.setting != "source.publish_stock":  # not a thing that this machine did
            assert f"{change.setting}" in answer.stderr
            assert str(change) in answer.stderr


def test_with_the_new_names_it_is_taken(harness: CloudHarness) -> None:
    harness.retrofit("config", "check")
    assert {target.name for target in load(harness.config).targets} == set(TARGETS)


def test_a_rolled_back_image_stays_so(old: World, plans: dict[str, Any]) -> None:
    plan = plans["rolled"]
    assert (plan["action"], plan["promoted"], plan["promote"]) == (
        "none", old.ids["rolled 2"], None
    )  # fmt: skip
    assert plan["demote"] == plan["retire"] == []


def test_pauses_are_in_force(old: World, plans: dict[str, Any]) -> None:
    for name in ("paused", "empty"):
        assert plans[name]["action"] == "paused"
        assert plans[name]["paused"] == old.pauses[name]
        assert plans[name]["paused"]["reason"] == REASON


def test_a_build_that_failed_is_not_tried_at_once(plans: dict[str, Any]) -> None:
    plan = plans["failing"]
    assert plan["action"] == "wait"
    assert plan["held_back_by"]["message"] == BUILD_ERROR
    assert plan["held_back_by"]["count"] == 1


def test_what_is_current_is_not_built_anew(old: World, plans: dict[str, Any]) -> None:
    assert (plans["aged"]["action"], plans["aged"]["promoted"]) == ("none", old.ids["aged 3"])


def test_a_promotion_that_died_halfway_is_seen_as_one(old: World, plans: dict[str, Any]) -> None:
    plan = plans["halfway"]
    assert (plan["action"], plan["promoted"]) == ("none", old.ids["halfway 3"])
    assert plan["demote"] == [old.ids["halfway 1"]]


def test_the_elements_of_today_are_a_reason_to_build(
    old: World, harness: CloudHarness, plans: dict[str, Any]
) -> None:
    """Also from the source whose image was rolled back, as docs/upgrading.md warns."""
    assert plans
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_elements, "PACKAGE", Path(recipe.__file__).parents[1])
        for name in ("rolled", "aged"):
            plan = harness.read("--target", name, "plan")
            assert plan["action"] == "build"
            assert any("recipe" in reason for reason in plan["reasons"]), plan


def test_an_unfinished_record_is_to_be_removed_and_its_build_repeated(
    old: World, plans: dict[str, Any]
) -> None:
    plan = plans["unfinished"]
    assert (plan["action"], plan["promoted"]) == ("build", old.ids["unfinished 1"])
    assert plan["reasons"] == [f"new source version {VERSIONS['3']} (was {VERSIONS['1']})"]
    assert plan["clean_up"] == [old.ids["unfinished 3"]]


def test_the_status_knows_what_0_1_0_knew(old: World, first_status: dict[str, Any]) -> None:
    kept = ("failing_since", "paused", "last_success_at")
    for name, before in old.status.items():
        now = first_status[name]
        assert pick(now, kept) == pick(before, kept)
        assert pick(now["failing"] or {}, tuple(before["failing"] or ())) == (
            before["failing"] or {}
        )
        assert now["step_seconds"] == renamed(before["step_seconds"], STEPS)
        assert now["run_counts"] == renamed(before["run_counts"])
        last, last_before = now["last_run"], before["last_run"]
        assert last["run_id"] == last_before["run_id"]
        assert last["outcome"] == OUTCOMES.get(last_before["outcome"], last_before["outcome"])


def test_states_are_those_of_before_under_their_new_names(first_status: dict[str, Any]) -> None:
    assert {name: status["state"] for name, status in first_status.items()} == {
        "rolled": "ok",
        "halfway": "ok",
        "unfinished": "ok",
        "paused": "paused",
        "failing": "backoff",
        "aged": "stale",
        "empty": "paused",
    }


def test_the_history_lists_every_run(old: World, first_history: list[dict[str, Any]]) -> None:
    told = ("run_id", "target", "action", "reasons", "image_id", "promoted", "demoted", "retired")
    assert [pick(report, told) for report in first_history] == [
        pick(report, told) for report in old.history
    ]
    assert [report["outcome"] for report in first_history] == [
        OUTCOMES.get(report["outcome"], report["outcome"]) for report in old.history
    ]


def test_the_logs_of_a_run_can_be_read(old: World, harness: CloudHarness) -> None:
    for report in old.history:
        shown = harness.retrofit("logs", report["run_id"], "-o", "json").document
        assert shown["report"]["run_id"] == report["run_id"]
        assert shown["events"][-1]["event"] == "run ended"
        assert shown["events"][-1]["run_id"] == report["run_id"]


def test_the_worker_runs_next_when_that_of_0_1_0_would_have(old: World) -> None:
    assert set(old.next_runs) == set(TARGETS)
    assert old.next_runs_now == old.next_runs


def test_the_first_plan_lists_what_is_taken_over_and_by_what_proof(
    old: World, harness: CloudHarness, plans: dict[str, Any]
) -> None:
    for target, plan in plans.items():
        finished = {
            image["id"]
            for image in old.images.values()
            if image.get("retrofit_target") == target and image["status"] == "active"
        }
        assert {each["image"] for each in plan["carry_over"]} == finished, target
        for each in plan["carry_over"]:
            assert old.images[each["image"]]["retrofit_run_id"] in each["reason"]
            assert "0.1.0" in each["reason"]


def test_the_first_run_does_what_the_plan_said(
    old: World, harness: CloudHarness, first_run: dict[str, Any]
) -> None:
    assert {name: report["outcome"] for name, report in first_run.items()} == {
        "rolled": "unchanged",
        "halfway": "unchanged",
        "unfinished": "published",
        "paused": "paused",
        "failing": "backoff",
        "aged": "unchanged",
        "empty": "paused",
    }
    assert len(harness.fake_builder.built) == 1
    assert first_run["halfway"]["demoted"] == [old.ids["halfway 1"]]
    assert first_run["unfinished"]["cleaned_up"] == [old.ids["unfinished 3"]]
    assert first_run["unfinished"]["demoted"] == [old.ids["unfinished 1"]]
    assert not any(report["retired"] for report in first_run.values())


def test_no_image_is_lost_and_no_tag_moves(
    old: World, harness: CloudHarness, first_run: dict[str, Any]
) -> None:
    after = harness.everything()
    published = first_run["unfinished"]["image_id"]
    assert old.images.keys() - after.keys() == {old.ids["unfinished 3"]}
    assert after.keys() - old.images.keys() == {published}
    for name in UNTOUCHED:
        before = old.images[old.ids[name]]
        now = {**after[old.ids[name]], "updated_at": before["updated_at"]}
        named = {key: now.pop(key, None) for key in identity_of(old, name)}
        read = [now.pop(key, None) for key in ("retrofit_image_ends", "retrofit_read_at")]
        assert now == before, name
        # Of a promoted image all bytes are read, since 0.1.0 recorded no blocks of it.
        was_read = TAGS.get(name.split()[0]) in before["tags"] and name != "paused 1"
        assert [each is not None for each in read] == [was_read] * 2, name
        # A paused target is left alone as a whole.
        assert named == identity_of(old, name) or name == "paused 1"
    assert {name: harness.tagged(tag) for name, tag in TAGS.items()} == {
        "rolled": {old.ids["rolled 2"]},
        "halfway": {old.ids["halfway 3"]},
        "unfinished": {published},
        "paused": {old.ids["paused 1"]},
        "failing": {old.ids["failing 1"]},
        "aged": {old.ids["aged 3"]},
        "empty": set(),
    }


def test_counters_go_on(old: World, harness: CloudHarness, first_run: dict[str, Any]) -> None:
    after = by_target(harness.read("status")["targets"])
    for name, before in old.status.items():
        counts = renamed(before["run_counts"])
        outcome = first_run[name]["outcome"]
        assert after[name]["run_counts"] == {**counts, outcome: counts.get(outcome, 0) + 1}
    assert after["failing"]["failing_since"] == old.status["failing"]["failing_since"]


def test_what_0_1_0_could_not_deliver_is_delivered_once_and_in_order(
    old: World, harness: CloudHarness, receiver: Receiver, first_run: dict[str, Any]
) -> None:
    assert receiver.taken == []
    assert {each["change"]["event"] for each in old.waiting} == {"published", "failed", "too_old"}
    receiver.behave = "take"
    assert harness.retrofit("notify", "-o", "json").document["queued"] == []
    taken = {name: [each for each in receiver.taken if each["target"] == name] for name in TARGETS}
    for name in TARGETS:
        waiting = [each["change"] for each in old.waiting if each["change"]["target"] == name]
        assert len(taken[name]) >= len(waiting)
        for sent, queued in zip(taken[name], waiting, strict=False):
            assert pick(sent, tuple(queued)) == {**queued, "event": event_now(queued["event"])}
        # Nobody is notified anew of what 0.1.0 had noticed: only of what the run did.
        news = [each["event"] for each in taken[name][len(waiting) :]]
        assert news == (["published"] if name == "unfinished" else []), name
        ids = [each["id"] for each in taken[name]]
        assert len(set(ids)) == len(ids)
    assert first_run


def test_a_recovery_tells_since_when_it_failed(
    old: World, harness: CloudHarness, receiver: Receiver
) -> None:
    receiver.behave = "take"
    harness.act(*run("failing"), "--force")
    harness.retrofit("notify")
    (recovered,) = [each for each in receiver.taken if each["event"] == "recovered"]
    assert recovered["failing_since"] == old.status["failing"]["failing_since"]


def test_a_pause_ends_by_resume(old: World, harness: CloudHarness) -> None:
    harness.retrofit("--target", "paused,empty", "resume")
    for name in ("paused", "empty"):
        assert harness.read("--target", name, "plan")["action"] == "build"


def test_0_1_0_promotes_nothing_that_was_rejected_here(
    old: World, harness: CloudHarness, first_run: dict[str, Any]
) -> None:
    """Neither what a rollback rejected, nor what a promotion by hand did."""
    harness.act("--target", "unfinished", "rollback", "--yes")
    harness.act("promote", old.ids["rolled 1"], "--yes")
    assert ended_by_0_1_0(old, "unfinished", "rolled", "halfway", "aged") == {
        "unfinished": ("unchanged", old.ids["unfinished 1"]),
        "rolled": ("unchanged", old.ids["rolled 1"]),
        "halfway": ("unchanged", old.ids["halfway 3"]),
        "aged": ("unchanged", old.ids["aged 3"]),
    }
    assert harness.tagged(TAGS["unfinished"]) == {old.ids["unfinished 1"]}
    assert harness.tagged(TAGS["rolled"]) == {old.ids["rolled 1"]}
    assert not harness.gone(first_run["unfinished"]["image_id"])


def test_0_1_0_keeps_pauses_and_failed_builds_of_today(old: World, harness: CloudHarness) -> None:
    harness.retrofit("--target", "paused", "pause", "--reason", "an audit")
    harness.fake_builder.build_error = BuildError("no space left")
    try:
        harness.retrofit("--target", "empty", "resume")
        harness.act(*run("empty"), exit_code=5)
    finally:
        harness.fake_builder.build_error = None
    builds = old.machine.builds
    paused, failing = old.machine.give(*run("paused", "empty"), exit_code=5)["runs"]
    assert old.machine.builds == builds
    assert (paused["outcome"], failing["outcome"]) == ("paused", "waiting")
    assert "an audit" in paused["reasons"][0]
    assert "no space left" in failing["error"]["message"]


def test_what_was_promoted_here_again_0_1_0_takes_for_promoted(
    old: World, harness: CloudHarness
) -> None:
    """Although it was 0.1.0 that rejected it, under the name that the property had then."""
    harness.act("promote", old.ids["rolled 3"], "--yes")
    assert ended_by_0_1_0(old, "rolled") == {"rolled": ("unchanged", old.ids["rolled 3"])}
    assert harness.tagged(TAGS["rolled"]) == {old.ids["rolled 3"]}


def test_what_0_1_0_promoted_again_stays_promoted_here(
    old: World, harness: CloudHarness, first_run: dict[str, Any]
) -> None:
    """Although it was rejected here, under the name that the property has now."""
    again = first_run["unfinished"]["image_id"]
    harness.act("rollback", old.ids["unfinished 1"], "--yes")
    assert harness.image(again)["retrofit_rejected_at"]
    old.machine.give("promote", again, "--yes")
    report = harness.act(*run("unfinished"))
    assert (report["outcome"], report["image_id"]) == ("unchanged", again)
    assert harness.tagged(TAGS["unfinished"]) == {again}


def identity_of(old: World, name: str) -> dict[str, str]:
    """Return what names an image that was taken over, besides the target, which was there."""
    target = name.split(maxsplit=1)[0]
    given = old.machine.harness.identity(old.ids[name], target=target, tag=TAGS[target])
    return {key: given[key] for key in given if key not in {"id", "retrofit_target"}}


def ended_by_0_1_0(old: World, *names: str) -> dict[str, tuple[str, str]]:
    """Run targets by 0.1.0, which may build nothing, and return how each ended, and with what."""
    builds = old.machine.builds
    reports = reports_of(old.machine.give(*run(*names)))
    assert old.machine.builds == builds
    return {report["target"]: (report["outcome"], report["image_id"]) for report in reports}


def renamed(values: dict[str, Any], names: dict[str, str] = OUTCOMES) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def event_now(event: str) -> str:
    return {"too_old": "stale"}.get(event, event)


def pick(document: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: document[key] for key in keys}
