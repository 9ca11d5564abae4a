"""What operators do by hand, seen through Octavia's own eyes after each step."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.harness import TAG, CloudHarness, days_ago
from tests.integration.test_presence import stored

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def is_rejected(harness: CloudHarness, image_id: str) -> bool:
    """Return True if an image is marked as rejected: for us, and for machines of 0.1.0."""
    marks = {"retrofit_rejected_at", "retrofit_set_aside_at"} & set(harness.image(image_id))
    assert len(marks) in {0, 2}, marks
    return bool(marks)


class TestPromote:
    """`retrofit promote`."""

    def test_makes_octavia_take_a_newer_image(self, harness: CloudHarness) -> None:
        older = harness.promoted("20260910", days=3)
        newer = harness.amphora("20260911", days=1)
        report = harness.act("promote", "--yes", newer)
        assert (report["outcome"], report["image_id"]) == ("promoted", newer)
        assert (report["promoted"], report["demoted"]) == ([newer], [older])
        assert harness.image(older)["os_hidden"]
        assert not is_rejected(harness, older), "an image that is replaced was not rejected"

    def test_makes_octavia_select_an_older_image_and_rejects_newer_ones(
        self, harness: CloudHarness
    ) -> None:
        older = harness.former("20260909", days=9)
        standing = harness.promoted("20260910", days=3)
        spare = harness.amphora("20260911", days=1)
        report = harness.act("promote", "--yes", older)
        assert (report["promoted"], report["demoted"]) == ([older], [standing])
        assert not harness.image(older)["os_hidden"]
        assert is_rejected(harness, standing)
        assert is_rejected(harness, spare)
        assert harness.tagged() == {older}

    @pytest.mark.parametrize("action", ["promote", "rollback"])
    def test_of_what_has_lost_its_bytes_changes_nothing_but_its_own_mark(
        self, harness: CloudHarness, action: str
    ) -> None:
        lost = harness.former("20260909", days=9)
        standing = harness.promoted("20260910", days=3)
        stored(harness, lost).unlink()
        before = harness.everything()
        said = harness.retrofit(action, "--yes", lost, exit_code=7).stderr
        assert f"cannot promote {lost}" in said
        after = harness.everything()
        assert after[standing] == before[standing]
        assert harness.image(lost)["retrofit_damaged_at"]
        assert harness.octavia() == standing

    def test_says_that_an_image_is_promoted_already(self, harness: CloudHarness) -> None:
        standing = harness.promoted("20260910", days=3)
        report = harness.act("promote", standing)
        assert report["outcome"] == "unchanged"
        assert report["reasons"] == [f"image {standing} is promoted already"]

    def test_takes_a_decision_back(self, harness: CloudHarness) -> None:
        older = harness.former("20260909", days=9)
        newer = harness.promoted("20260910", days=3)
        harness.act("rollback", "--yes")
        assert is_rejected(harness, newer)
        report = harness.act("promote", "--yes", newer)
        assert (report["image_id"], report["demoted"]) == (newer, [older])
        assert not is_rejected(harness, newer)

    def test_completes_what_is_tagged_and_hidden(self, harness: CloudHarness) -> None:
        harness.promoted("20260909", days=9)
        hidden = harness.amphora("20260910", days=3, tags=[TAG], os_hidden=True)
        assert harness.act("promote", "--yes", hidden)["image_id"] == hidden

    def test_refuses_a_deactivated_image(self, harness: CloudHarness) -> None:
        harness.promoted("20260910", days=3)
        other = harness.amphora("20260911", days=1)
        harness.client.images.deactivate(other)
        assert "image is deactivated" in harness.refused("promote", "--yes", other, exit_code=7)

    def test_refuses_an_image_that_was_never_finished(self, harness: CloudHarness) -> None:
        harness.promoted("20260910", days=3)
        record = harness.site.glance().images.create(
            name="half", disk_format="qcow2", **harness.identity(str(uuid.uuid4()))
        )
        assert "image is queued" in harness.refused("promote", "--yes", record.id, exit_code=7)

    @pytest.mark.parametrize("whose", ["nobody", "tenant", "charm", "stock"])
    def test_refuses_what_no_run_of_ours_made(self, harness: CloudHarness, whose: str) -> None:
        harness.promoted("20260910", days=3)
        image_id = UNKNOWN
        if whose == "tenant":
            image_id = harness.foreign(retrofit_target="default", visibility="community")
        elif whose == "charm":
            image_id = harness.of_the_charm("20260911", days=1)
        elif whose == "stock":
            image_id = harness.source("20260911")
        said = harness.refused("promote", "--yes", image_id, exit_code=7)
        assert f"image {image_id} is not an amphora image of these targets" in said

    def test_refuses_before_any_change_what_would_not_win(self, harness: CloudHarness) -> None:
        older = harness.former("20260909", days=9)
        harness.promoted("20260910", days=3)
        theirs = harness.of_the_charm("20260911", days=1)
        assert harness.octavia() == theirs
        said = harness.refused("promote", "--yes", older, exit_code=7)
        assert f"Octavia would select {theirs}" in said
        assert f"openstack image unset --tag {TAG} {theirs}" in said
        assert f"Octavia would select {theirs}" in harness.refused("rollback", "--yes", exit_code=7)

    def test_demotes_the_charms_newer_image_where_it_may_adopt_it(
        self, harness: CloudHarness
    ) -> None:
        older = harness.former("20260909", days=9)
        theirs = harness.of_the_charm("20260911", days=1)
        harness.toml = "[publish]\nreplace_charm_images = true\n"
        report = harness.act("promote", "--yes", older)
        assert (report["image_id"], report["demoted"]) == (older, [theirs])

    def test_notes_that_a_tenants_newer_image_needs_an_owner_in_octavia(
        self, harness: CloudHarness
    ) -> None:
        harness.promoted("20260909", days=9)
        newer = harness.amphora("20260910", days=3)
        planted = harness.foreign(tags=[TAG])
        assert harness.octavia(owner=False) == planted
        harness.account = harness.site.sync_cloud  # who sees every project's private images
        report = harness.act("promote", "--yes", newer)
        assert any(f"amp_image_owner_id = {harness.project}" in note for note in report["notes"])


class TestRollback:
    """`retrofit rollback`."""

    def test_goes_back_to_the_image_before(self, harness: CloudHarness) -> None:
        harness.former("20260908", days=12)
        before = harness.former("20260909", days=9)
        never_promoted = harness.amphora("20260910", days=6)
        standing = harness.promoted("20260911", days=3)
        report = harness.act("rollback", "--yes")
        assert (report["action"], report["image_id"]) == ("rollback", before)
        assert report["demoted"] == [standing]
        assert is_rejected(harness, standing)
        assert is_rejected(harness, never_promoted)
        assert harness.tagged() == {before}

    def test_goes_back_to_an_image_that_is_named(self, harness: CloudHarness) -> None:
        named = harness.former("20260908", days=12)
        between = harness.former("20260909", days=9)
        harness.promoted("20260911", days=3)
        assert harness.act("rollback", "--yes", named)["image_id"] == named
        assert is_rejected(harness, between)

    def test_refuses_when_there_is_nothing_to_go_back_to(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        said = harness.refused("rollback", "--yes", exit_code=7)
        assert "has no older image to go back to" in said

    def test_passes_over_an_image_that_went_bad(self, harness: CloudHarness) -> None:
        good = harness.former("20260908", days=12)
        bad = harness.former("20260909", days=9)
        harness.rows.set_hash(bad, "0" * 128)
        harness.promoted("20260911", days=3)
        assert harness.act("rollback", "--yes")["image_id"] == good

    def test_refuses_a_newer_image_and_names_the_command_for_it(
        self, harness: CloudHarness
    ) -> None:
        harness.promoted("20260910", days=3)
        newer = harness.amphora("20260911", days=1)
        said = harness.refused("rollback", "--yes", newer, exit_code=7)
        assert "is not an older image" in said
        assert f"`retrofit promote {newer}`" in said

    def test_twice_goes_back_twice_and_then_no_further(self, harness: CloudHarness) -> None:
        oldest = harness.former("20260908", days=12)
        older = harness.former("20260909", days=9)
        harness.promoted("20260911", days=3)
        assert harness.act("rollback", "--yes")["image_id"] == older
        assert harness.act("rollback", "--yes")["image_id"] == oldest
        harness.refused("rollback", "--yes", exit_code=7)

    def test_is_left_so_by_runs_until_there_is_a_newer_source(self, harness: CloudHarness) -> None:
        harness.source("20260911")
        before = harness.former("20260910", days=9)
        standing = harness.promoted("20260911", days=3)
        harness.act("rollback", "--yes")
        for _ in range(2):
            report = harness.act("run-once")
            assert (report["outcome"], report["image_id"]) == ("unchanged", before)
            assert any(standing in note and "rejected" in note for note in report["notes"])
        assert harness.fake_builder.built == []
        harness.source("20260912")
        report = harness.act("run-once")
        assert (report["outcome"], report["source"]["version"]) == ("published", "20260912")

    def test_survives_retirement_of_what_it_went_back_to(self, harness: CloudHarness) -> None:
        older = harness.former("20260909", days=9)
        newer = harness.promoted("20260911", days=3)
        harness.act("rollback", "--yes")
        assert harness.read("retire", "--yes")["retire"] == []
        assert not harness.gone(older)
        assert not harness.gone(newer), "it says which source and recipe were decided against"


class TestOctaviaMeanwhile:
    """Octavia may start an amphora at any moment."""

    def test_always_finds_an_image_while_images_are_promoted_and_rolled_back(
        self, harness: CloudHarness
    ) -> None:
        harness.source("20260912")
        older = harness.former("20260910", days=9)
        newer = harness.promoted("20260911", days=3)
        with harness.polled() as seen:
            harness.retrofit("rollback", "--yes")
            harness.retrofit("promote", "--yes", newer)
            harness.retrofit("promote", "--yes", older)
            harness.retrofit("run-once")
        assert None not in seen
        assert {older, newer} < set(seen), "the poll saw what happened"


def moments(writes: int, *by_default: int) -> list[Any]:
    """Every number of writes up to the last one; those that tell less are for the full matrix."""
    return [
        number if number in by_default else pytest.param(number, marks=pytest.mark.slow)
        for number in range(writes + 1)
    ]


class TestKilled:
    """A command that dies between two writes, and what is done next."""

    # Reject, show, tag, mark, mark the other, untag, hide. A promotion rejects nothing.
    ROLLBACK, PROMOTION = 7, 6

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("writes", moments(ROLLBACK, 1, 3, 5, 7))
    def test_rollback_is_completed_by_the_same_command(
        self, harness: CloudHarness, writes: int
    ) -> None:
        harness.former("20260908", days=12)
        before = harness.former("20260909", days=9)
        standing = harness.promoted("20260911", days=3)
        killed = harness.killed_after(writes, "rollback", "--yes", before)
        assert killed == (writes < self.ROLLBACK)
        assert harness.octavia() is not None
        assert harness.act("rollback", "--yes", before)["image_id"] == before
        assert harness.tagged() == {before}
        assert harness.image(standing)["os_hidden"]
        assert is_rejected(harness, standing)

    @pytest.mark.parametrize("writes", moments(ROLLBACK - 1, 1, 3, 5))
    def test_a_run_takes_the_side_of_what_is_tagged_already(
        self, harness: CloudHarness, writes: int
    ) -> None:
        harness.source("20260911")
        before = harness.former("20260909", days=9)
        standing = harness.promoted("20260911", days=3)
        assert harness.killed_after(writes, "rollback", "--yes")
        taken = before if TAG in harness.image(before)["tags"] else standing
        assert harness.act("run-once")["image_id"] == taken
        assert harness.tagged() == {taken}
        assert harness.fake_builder.built == []

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("writes", moments(PROMOTION, 1, 2, 3, 6))
    def test_promote_is_completed_by_a_run_or_by_the_same_command(
        self, harness: CloudHarness, writes: int
    ) -> None:
        harness.source("20260911")
        before = harness.promoted("20260909", days=9)
        then = days_ago(1).isoformat()
        wanted = harness.former(
            "20260911", days=3, retrofit_rejected_at=then, retrofit_set_aside_at=then
        )
        killed = harness.killed_after(writes, "promote", "--yes", wanted)
        assert killed == (writes < self.PROMOTION)
        assert harness.octavia() is not None
        # The rejection is taken back first: from then on a run completes what was wanted.
        begun = not is_rejected(harness, wanted)
        if writes % 2:
            harness.act("run-once", exit_code=None)
            assert harness.octavia() == (wanted if begun else before)
        assert harness.act("promote", "--yes", wanted)["image_id"] == wanted
        assert harness.tagged() == {wanted}
        assert not is_rejected(harness, wanted)


def test_a_rollback_without_id_that_died_is_completed_and_goes_no_further(
    harness: CloudHarness,
) -> None:
    oldest = harness.former("20260908", days=12)
    before = harness.former("20260909", days=9)
    standing = harness.promoted("20260911", days=3)
    for writes in range(4, 6):  # the older image is tagged, the newer one as yet too
        assert harness.killed_after(writes, "rollback", "--yes")
        assert harness.tagged() == {before, standing}
        assert harness.act("rollback", "--yes")["image_id"] == before
        assert harness.tagged() == {before}
        harness.act("promote", "--yes", standing)
    assert not is_rejected(harness, oldest)


class TestRetire:
    """`retrofit retire`."""

    @pytest.fixture
    def old(self, harness: CloudHarness) -> list[str]:
        harness.promoted("20260911", days=3)
        harness.former("20260910", days=9)
        return [harness.former("20260909", days=12), harness.former("20260908", days=15)]

    def test_shows_beforehand_what_it_would_delete(
        self, harness: CloudHarness, old: list[str]
    ) -> None:
        assert harness.read("retire", "--dry-run")["retire"] == old
        assert old[1] in harness.retrofit("retire", "--dry-run").stdout

    def test_deletes_what_it_showed(self, harness: CloudHarness, old: list[str]) -> None:
        report = harness.act("retire", "--yes")
        assert (report["outcome"], report["retired"]) == ("retired", old)
        assert all(map(harness.gone, old))
        assert harness.read("retire", "--yes")["retire"] == []

    def test_deletes_nothing_unless_somebody_agrees(
        self, harness: CloudHarness, old: list[str]
    ) -> None:
        said = harness.refused("retire", exit_code=2)
        assert "there is no terminal to confirm on" in said
        assert "--yes" in said

    def test_deletes_nothing_where_nothing_is_promoted(self, harness: CloudHarness) -> None:
        for days in (9, 12, 15):
            harness.former("20260909", days=days)
        assert harness.read("retire", "--yes")["retire"] == []


class TestPause:
    """`retrofit pause` and `retrofit resume`."""

    def paused_run(self, harness: CloudHarness, *words: str) -> Any:
        document = harness.read("run-once", *words)
        assert document["outcome"] == "paused"
        return document

    def test_stops_runs_on_every_machine_until_it_is_ended_on_any(
        self, harness: CloudHarness
    ) -> None:
        harness.source("20260912")
        standing = harness.promoted("20260911", days=3)
        said = harness.retrofit("pause", "--reason", "change freeze", "-o", "json").document
        assert said["seen_by"] == "all machines"
        for machine in ("a", "b"):
            harness.machine = machine
            assert "change freeze" in self.paused_run(harness)["reasons"][0]
            assert self.paused_run(harness, "--force")["image_id"] == standing
        assert harness.read("plan")["action"] == "paused"
        assert harness.read("status")["paused"]["reason"] == "change freeze"
        assert "change freeze" in harness.retrofit("status").stdout
        ended = harness.retrofit("resume", "-o", "json").document
        assert ended["was"]["reason"] == "change freeze"
        harness.machine = "a"
        assert harness.act("run-once")["outcome"] == "published"

    @pytest.mark.parametrize("until", ["12h", "90m", "3d", "2099-12-24T18:00"])
    def test_takes_an_end_as_a_time_or_as_a_duration(
        self, harness: CloudHarness, until: str
    ) -> None:
        harness.promoted("20260911", days=3)
        harness.retrofit("pause", "--reason", "x", "--until", until)
        end = harness.read("status")["paused"]["until"]
        assert end > days_ago(0).isoformat()
        if until.startswith("2099"):
            assert end == "2099-12-24T18:00:00+00:00"

    @pytest.mark.parametrize("until", ["2001-01-01T00:00", "tomorrow", "12", "-3h", ""])
    def test_refuses_an_end_that_is_past_or_none(self, harness: CloudHarness, until: str) -> None:
        before = harness.promoted("20260911", days=3)
        finished = harness.retrofit("pause", "--reason", "x", f"--until={until}", exit_code=2)
        assert "Invalid value for '--until'" in finished.stderr
        assert "retrofit_paused" not in harness.image(before)

    def test_wants_a_reason(self, harness: CloudHarness) -> None:
        assert "--reason" in harness.retrofit("pause", exit_code=2).stderr

    def test_ends_by_itself(self, harness: CloudHarness) -> None:
        harness.source("20260912")
        standing = harness.promoted("20260911", days=3)
        harness.retrofit("pause", "--reason", "x", "--until", "12h")
        record = harness.image(standing)["retrofit_paused"]
        until = harness.read("status")["paused"]["until"]
        harness.client.images.update(
            standing, retrofit_paused=record.replace(until, days_ago(1).isoformat())
        )
        assert harness.read("status")["paused"] is None
        assert harness.act("run-once")["outcome"] == "published"

    def test_before_there_is_any_image_holds_on_this_machine_and_says_so(
        self, harness: CloudHarness
    ) -> None:
        harness.source("20260912")
        said = harness.retrofit("pause", "--reason", "not yet", "-o", "json").document
        assert said["seen_by"].startswith("this machine")
        assert self.paused_run(harness)["image_id"] is None
        harness.retrofit("resume")
        assert harness.act("run-once")["outcome"] == "published"

    def test_outlives_a_rollback_which_it_does_not_forbid(self, harness: CloudHarness) -> None:
        harness.source("20260912")
        before = harness.former("20260910", days=9)
        harness.promoted("20260911", days=3)
        harness.retrofit("pause", "--reason", "bad release")
        assert harness.act("rollback", "--yes")["image_id"] == before
        assert self.paused_run(harness)["image_id"] == before

    def test_a_second_one_replaces_the_first(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        harness.retrofit("pause", "--reason", "for good")
        harness.retrofit("pause", "--reason", "for a while", "--until", "12h")
        paused = harness.read("status")["paused"]
        assert (paused["reason"], paused["until"] is None) == ("for a while", False)

    def test_resume_without_a_pause_is_no_error(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        assert harness.read("resume")["was"] is None
