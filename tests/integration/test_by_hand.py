"""What operators do by hand, seen through Octavia's own eyes after each step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.stage import TAG, Stage, days_ago

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def is_set_aside(stage: Stage, image_id: str) -> bool:
    return "retrofit_set_aside_at" in stage.image(image_id)


class TestPromote:
    """`retrofit promote`."""

    def test_makes_octavia_take_a_newer_image(self, stage: Stage) -> None:
        older = stage.promoted("20260910", days=3)
        newer = stage.amphora("20260911", days=1)
        report = stage.act("promote", "--yes", newer)
        assert (report["outcome"], report["image_id"]) == ("promoted", newer)
        assert (report["promoted"], report["demoted"]) == ([newer], [older])
        assert stage.image(older)["os_hidden"]
        assert not is_set_aside(stage, older), "an image that is replaced was not decided against"

    def test_makes_octavia_take_an_older_image_and_sets_newer_ones_aside(
        self, stage: Stage
    ) -> None:
        older = stage.former("20260909", days=9)
        standing = stage.promoted("20260910", days=3)
        spare = stage.amphora("20260911", days=1)
        report = stage.act("promote", "--yes", older)
        assert (report["promoted"], report["demoted"]) == ([older], [standing])
        assert not stage.image(older)["os_hidden"]
        assert is_set_aside(stage, standing)
        assert is_set_aside(stage, spare)
        assert stage.tagged() == {older}

    def test_says_that_an_image_is_promoted_already(self, stage: Stage) -> None:
        standing = stage.promoted("20260910", days=3)
        report = stage.act("promote", standing)
        assert report["outcome"] == "unchanged"
        assert report["reasons"] == [f"image {standing} is promoted already"]

    def test_takes_a_decision_back(self, stage: Stage) -> None:
        older = stage.former("20260909", days=9)
        newer = stage.promoted("20260910", days=3)
        stage.act("rollback", "--yes")
        assert is_set_aside(stage, newer)
        report = stage.act("promote", "--yes", newer)
        assert (report["image_id"], report["demoted"]) == (newer, [older])
        assert not is_set_aside(stage, newer)

    def test_completes_what_is_tagged_and_hidden(self, stage: Stage) -> None:
        stage.promoted("20260909", days=9)
        hidden = stage.amphora("20260910", days=3, tags=[TAG], os_hidden=True)
        assert stage.act("promote", "--yes", hidden)["image_id"] == hidden

    def test_refuses_a_deactivated_image(self, stage: Stage) -> None:
        stage.promoted("20260910", days=3)
        other = stage.amphora("20260911", days=1)
        stage.client.images.deactivate(other)
        assert "image is deactivated" in stage.refused("promote", "--yes", other, exit_code=7)

    def test_refuses_an_image_that_was_never_finished(self, stage: Stage) -> None:
        stage.promoted("20260910", days=3)
        record = stage.site.glance().images.create(
            name="half", disk_format="qcow2", retrofit_target="default"
        )
        assert "image is queued" in stage.refused("promote", "--yes", record.id, exit_code=7)

    @pytest.mark.parametrize("whose", ["nobody", "tenant", "charm", "stock"])
    def test_refuses_what_no_run_of_ours_made(self, stage: Stage, whose: str) -> None:
        stage.promoted("20260910", days=3)
        image_id = UNKNOWN
        if whose == "tenant":
            image_id = stage.foreign(retrofit_target="default", visibility="community")
        elif whose == "charm":
            image_id = stage.of_the_charm("20260911", days=1)
        elif whose == "stock":
            image_id = stage.source("20260911")
        said = stage.refused("promote", "--yes", image_id, exit_code=7)
        assert f"image {image_id} is not an amphora image of these targets" in said

    def test_refuses_before_any_change_what_would_not_win(self, stage: Stage) -> None:
        older = stage.former("20260909", days=9)
        stage.promoted("20260910", days=3)
        theirs = stage.of_the_charm("20260911", days=1)
        assert stage.octavia() == theirs
        said = stage.refused("promote", "--yes", older, exit_code=7)
        assert f"Octavia would take {theirs}" in said
        assert f"openstack image unset --tag {TAG} {theirs}" in said
        assert f"Octavia would take {theirs}" in stage.refused("rollback", "--yes", exit_code=7)

    def test_demotes_the_charms_newer_image_where_it_may_adopt_it(self, stage: Stage) -> None:
        older = stage.former("20260909", days=9)
        theirs = stage.of_the_charm("20260911", days=1)
        stage.toml = "[publish]\nadopt = true\n"
        report = stage.act("promote", "--yes", older)
        assert (report["image_id"], report["demoted"]) == (older, [theirs])

    def test_notes_that_a_tenants_newer_image_needs_an_owner_in_octavia(self, stage: Stage) -> None:
        stage.promoted("20260909", days=9)
        newer = stage.amphora("20260910", days=3)
        planted = stage.foreign(tags=[TAG])
        assert stage.octavia(owner=False) == planted
        stage.account = stage.site.sync_cloud  # who sees every project's private images
        report = stage.act("promote", "--yes", newer)
        assert any(f"amp_image_owner_id = {stage.project}" in note for note in report["notes"])


class TestRollback:
    """`retrofit rollback`."""

    def test_goes_back_to_the_image_before(self, stage: Stage) -> None:
        stage.former("20260908", days=12)
        before = stage.former("20260909", days=9)
        never_promoted = stage.amphora("20260910", days=6)
        standing = stage.promoted("20260911", days=3)
        report = stage.act("rollback", "--yes")
        assert (report["action"], report["image_id"]) == ("rollback", before)
        assert report["demoted"] == [standing]
        assert is_set_aside(stage, standing)
        assert is_set_aside(stage, never_promoted)
        assert stage.tagged() == {before}

    def test_goes_back_to_an_image_that_is_named(self, stage: Stage) -> None:
        named = stage.former("20260908", days=12)
        between = stage.former("20260909", days=9)
        stage.promoted("20260911", days=3)
        assert stage.act("rollback", "--yes", named)["image_id"] == named
        assert is_set_aside(stage, between)

    def test_refuses_when_there_is_nothing_to_go_back_to(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        said = stage.refused("rollback", "--yes", exit_code=7)
        assert "has no older image to go back to" in said

    def test_passes_over_an_image_that_went_bad(self, stage: Stage) -> None:
        good = stage.former("20260908", days=12)
        bad = stage.former("20260909", days=9)
        stage.rows.set_hash(bad, "0" * 128)
        stage.promoted("20260911", days=3)
        assert stage.act("rollback", "--yes")["image_id"] == good

    def test_refuses_a_newer_image_and_names_the_command_for_it(self, stage: Stage) -> None:
        stage.promoted("20260910", days=3)
        newer = stage.amphora("20260911", days=1)
        said = stage.refused("rollback", "--yes", newer, exit_code=7)
        assert "is not an older image" in said
        assert "`retrofit promote`" in said

    def test_twice_goes_back_twice_and_then_no_further(self, stage: Stage) -> None:
        oldest = stage.former("20260908", days=12)
        older = stage.former("20260909", days=9)
        stage.promoted("20260911", days=3)
        assert stage.act("rollback", "--yes")["image_id"] == older
        assert stage.act("rollback", "--yes")["image_id"] == oldest
        stage.refused("rollback", "--yes", exit_code=7)

    def test_is_left_so_by_runs_until_there_is_a_newer_source(self, stage: Stage) -> None:
        stage.source("20260911")
        before = stage.former("20260910", days=9)
        standing = stage.promoted("20260911", days=3)
        stage.act("rollback", "--yes")
        for _ in range(2):
            report = stage.act("run-once")
            assert (report["outcome"], report["image_id"]) == ("unchanged", before)
            assert any(standing in note and "set aside" in note for note in report["notes"])
        assert stage.workshop.built == []
        stage.source("20260912")
        report = stage.act("run-once")
        assert (report["outcome"], report["source"]["version"]) == ("published", "20260912")

    def test_survives_retirement_of_what_it_went_back_to(self, stage: Stage) -> None:
        older = stage.former("20260909", days=9)
        newer = stage.promoted("20260911", days=3)
        stage.act("rollback", "--yes")
        assert stage.read("retire", "--yes")["retire"] == []
        assert not stage.gone(older)
        assert not stage.gone(newer), "it says which source and recipe were decided against"


class TestOctaviaMeanwhile:
    """Octavia may start an amphora at any moment."""

    def test_always_finds_an_image_while_images_are_promoted_and_rolled_back(
        self, stage: Stage
    ) -> None:
        stage.source("20260912")
        older = stage.former("20260910", days=9)
        newer = stage.promoted("20260911", days=3)
        with stage.polled() as seen:
            stage.retrofit("rollback", "--yes")
            stage.retrofit("promote", "--yes", newer)
            stage.retrofit("promote", "--yes", older)
            stage.retrofit("run-once")
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

    # Set aside, show, tag, mark, mark the other, untag, hide. A promotion sets nobody aside.
    ROLLBACK, PROMOTION = 7, 6

    @pytest.mark.parametrize("writes", moments(ROLLBACK, 1, 3, 5, 7))
    def test_rollback_is_completed_by_the_same_command(self, stage: Stage, writes: int) -> None:
        stage.former("20260908", days=12)
        before = stage.former("20260909", days=9)
        standing = stage.promoted("20260911", days=3)
        killed = stage.killed_after(writes, "rollback", "--yes", before)
        assert killed == (writes < self.ROLLBACK)
        assert stage.octavia() is not None
        assert stage.act("rollback", "--yes", before)["image_id"] == before
        assert stage.tagged() == {before}
        assert stage.image(standing)["os_hidden"]
        assert is_set_aside(stage, standing)

    @pytest.mark.parametrize("writes", moments(ROLLBACK - 1, 1, 3, 5))
    def test_a_run_takes_the_side_of_what_is_tagged_already(
        self, stage: Stage, writes: int
    ) -> None:
        stage.source("20260911")
        before = stage.former("20260909", days=9)
        standing = stage.promoted("20260911", days=3)
        assert stage.killed_after(writes, "rollback", "--yes")
        taken = before if TAG in stage.image(before)["tags"] else standing
        assert stage.act("run-once")["image_id"] == taken
        assert stage.tagged() == {taken}
        assert stage.workshop.built == []

    @pytest.mark.parametrize("writes", moments(PROMOTION, 1, 2, 3, 6))
    def test_promote_is_completed_by_a_run_or_by_the_same_command(
        self, stage: Stage, writes: int
    ) -> None:
        stage.source("20260911")
        before = stage.promoted("20260909", days=9)
        wanted = stage.former("20260911", days=3, retrofit_set_aside_at=days_ago(1).isoformat())
        killed = stage.killed_after(writes, "promote", "--yes", wanted)
        assert killed == (writes < self.PROMOTION)
        assert stage.octavia() is not None
        tagged = TAG in stage.image(wanted)["tags"]
        if writes % 2:
            stage.act("run-once", exit_code=None)
            assert stage.octavia() == (wanted if tagged else before)
        assert stage.act("promote", "--yes", wanted)["image_id"] == wanted
        assert stage.tagged() == {wanted}
        assert not is_set_aside(stage, wanted)


def test_a_rollback_without_id_that_died_is_completed_and_goes_no_further(stage: Stage) -> None:
    oldest = stage.former("20260908", days=12)
    before = stage.former("20260909", days=9)
    standing = stage.promoted("20260911", days=3)
    for writes in range(4, 6):  # the older image is tagged, the newer one as yet too
        assert stage.killed_after(writes, "rollback", "--yes")
        assert stage.tagged() == {before, standing}
        assert stage.act("rollback", "--yes")["image_id"] == before
        assert stage.tagged() == {before}
        stage.act("promote", "--yes", standing)
    assert "retrofit_set_aside_at" not in stage.image(oldest)


class TestRetire:
    """`retrofit retire`."""

    @pytest.fixture
    def old(self, stage: Stage) -> list[str]:
        stage.promoted("20260911", days=3)
        stage.former("20260910", days=9)
        return [stage.former("20260909", days=12), stage.former("20260908", days=15)]

    def test_shows_beforehand_what_it_would_delete(self, stage: Stage, old: list[str]) -> None:
        assert stage.read("retire", "--dry-run")["retire"] == old
        assert old[1] in stage.retrofit("retire", "--dry-run").stdout

    def test_deletes_what_it_showed(self, stage: Stage, old: list[str]) -> None:
        report = stage.act("retire", "--yes")
        assert (report["outcome"], report["retired"]) == ("retired", old)
        assert all(map(stage.gone, old))
        assert stage.read("retire", "--yes")["retire"] == []

    def test_deletes_nothing_unless_somebody_agrees(self, stage: Stage, old: list[str]) -> None:
        said = stage.refused("retire", exit_code=2)
        assert "nobody is here to answer" in said
        assert "--yes" in said

    def test_deletes_nothing_where_nothing_is_promoted(self, stage: Stage) -> None:
        for days in (9, 12, 15):
            stage.former("20260909", days=days)
        assert stage.read("retire", "--yes")["retire"] == []


class TestPause:
    """`retrofit pause` and `retrofit resume`."""

    def paused_run(self, stage: Stage, *words: str) -> Any:
        document = stage.read("run-once", *words)
        assert document["outcome"] == "paused"
        return document

    def test_stops_runs_on_every_machine_until_it_is_ended_on_any(self, stage: Stage) -> None:
        stage.source("20260912")
        standing = stage.promoted("20260911", days=3)
        said = stage.retrofit("pause", "--reason", "change freeze", "-o", "json").document
        assert said["seen_by"] == "all machines"
        for machine in ("a", "b"):
            stage.machine = machine
            assert "change freeze" in self.paused_run(stage)["reasons"][0]
            assert self.paused_run(stage, "--force")["image_id"] == standing
        assert stage.read("plan")["action"] == "paused"
        assert stage.read("status")["paused"]["reason"] == "change freeze"
        assert "change freeze" in stage.retrofit("status").stdout
        ended = stage.retrofit("resume", "-o", "json").document
        assert ended["was"]["reason"] == "change freeze"
        stage.machine = "a"
        assert stage.act("run-once")["outcome"] == "published"

    @pytest.mark.parametrize("until", ["12h", "90m", "3d", "2099-12-24T18:00"])
    def test_takes_an_end_as_a_time_or_as_a_duration(self, stage: Stage, until: str) -> None:
        stage.promoted("20260911", days=3)
        stage.retrofit("pause", "--reason", "x", "--until", until)
        end = stage.read("status")["paused"]["until"]
        assert end > days_ago(0).isoformat()
        if until.startswith("2099"):
            assert end == "2099-12-24T18:00:00+00:00"

    @pytest.mark.parametrize("until", ["2001-01-01T00:00", "tomorrow", "12", "-3h", ""])
    def test_refuses_an_end_that_is_past_or_none(self, stage: Stage, until: str) -> None:
        before = stage.promoted("20260911", days=3)
        finished = stage.retrofit("pause", "--reason", "x", f"--until={until}", exit_code=2)
        assert "Invalid value for '--until'" in finished.stderr
        assert "retrofit_paused" not in stage.image(before)

    def test_wants_a_reason(self, stage: Stage) -> None:
        assert "--reason" in stage.retrofit("pause", exit_code=2).stderr

    def test_ends_by_itself(self, stage: Stage) -> None:
        stage.source("20260912")
        standing = stage.promoted("20260911", days=3)
        stage.retrofit("pause", "--reason", "x", "--until", "12h")
        record = stage.image(standing)["retrofit_paused"]
        until = stage.read("status")["paused"]["until"]
        stage.client.images.update(
            standing, retrofit_paused=record.replace(until, days_ago(1).isoformat())
        )
        assert stage.read("status")["paused"] is None
        assert stage.act("run-once")["outcome"] == "published"

    def test_before_there_is_any_image_holds_on_this_machine_and_says_so(
        self, stage: Stage
    ) -> None:
        stage.source("20260912")
        said = stage.retrofit("pause", "--reason", "not yet", "-o", "json").document
        assert said["seen_by"].startswith("this machine")
        assert self.paused_run(stage)["image_id"] is None
        stage.retrofit("resume")
        assert stage.act("run-once")["outcome"] == "published"

    def test_outlives_a_rollback_which_it_does_not_forbid(self, stage: Stage) -> None:
        stage.source("20260912")
        before = stage.former("20260910", days=9)
        stage.promoted("20260911", days=3)
        stage.retrofit("pause", "--reason", "bad release")
        assert stage.act("rollback", "--yes")["image_id"] == before
        assert self.paused_run(stage)["image_id"] == before

    def test_a_second_one_replaces_the_first(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        stage.retrofit("pause", "--reason", "for good")
        stage.retrofit("pause", "--reason", "for a while", "--until", "12h")
        paused = stage.read("status")["paused"]
        assert (paused["reason"], paused["until"] is None) == ("for a while", False)

    def test_resume_without_a_pause_is_no_error(self, stage: Stage) -> None:
        stage.promoted("20260911", days=3)
        assert stage.read("resume")["was"] is None
