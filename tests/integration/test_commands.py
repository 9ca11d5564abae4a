"""The commands that show and tell, and the console script itself, on a terminal and without."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from retrofit.build.request import BuildRequest
from retrofit.cli.root import retrofit as commands
from retrofit.cloud.auth import _warn_of_ignored
from retrofit.model import BuiltImage
from tests.answers import answer
from tests.integration.harness import CHARM_TAG, TAG, CloudHarness

RETROFIT = Path(sys.executable).with_name("retrofit")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
PATIENCE = 300.0
"""Seconds until a program on a terminal is given up."""


def script(harness: CloudHarness, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as operators and timers do."""
    return subprocess.run(
        [RETROFIT, "--config", harness.config, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def on_terminal(harness: CloudHarness, *words: str, question: str, answer: str) -> tuple[int, str]:
    """Run the console script on a terminal, and answer when it asks."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [RETROFIT, "--config", harness.config, *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    told, answered, deadline = b"", False, time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline and select.select([leader], [], [], PATIENCE)[0]:
            try:
                read = os.read(leader, 4096)
            except OSError:  # the other end was closed by the last who had it
                break
            told += read
            if not answered and question.encode() in told:
                os.write(leader, answer.encode() + b"\n")
                answered = True
        return process.wait(PATIENCE), told.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


class TestTerminal:
    """What asks on a terminal."""

    @pytest.mark.parametrize(("answer", "code"), [("n", 130), ("y", 0)])
    def test_rollback_does_what_was_answered(
        self, harness: CloudHarness, answer: str, code: int
    ) -> None:
        before = harness.former("20260910", days=9)
        standing = harness.promoted("20260911", days=3)
        exit_code, told = on_terminal(harness, "rollback", question="[y/N]", answer=answer)
        assert f"Promote {before}" in told.replace("\r\n", "")
        assert exit_code == code, told
        assert harness.octavia() == (before if code == 0 else standing)
        if code:
            assert "nothing was changed" in told
            assert harness.tagged() == {standing}
            assert "retrofit_rejected_at" not in harness.image(standing)


class TestScript:
    """The console script, in a process of its own."""

    def test_a_second_run_is_refused_while_one_builds(self, harness: CloudHarness) -> None:
        harness.source("20260912")
        standing = harness.promoted("20260911", days=3)
        build, met = harness.fake_builder.build, []

        def build_while_another_run_begins(request: BuildRequest) -> BuiltImage:
            met.append(script(harness, "run-once", "-o", "json"))
            assert harness.octavia() == standing
            return build(request)

        harness.fake_builder.build = build_while_another_run_begins  # type: ignore[method-assign]
        assert harness.act("run-once")["outcome"] == "published"
        (finished,) = met
        assert finished.returncode == 75, finished.stderr
        report = answer(finished.stdout)
        assert (report["outcome"], report["error"]["code"]) == ("locked", "locked")
        assert "wait for it to end" in report["error"]["hint"]

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("command", ["rollback", "promote"])
    def test_what_a_person_orders_while_a_run_builds_is_done_at_once_and_stands(
        self, harness: CloudHarness, command: str
    ) -> None:
        harness.source("20260912")
        before = harness.former("20260910", days=9)
        harness.promoted("20260911", days=3)
        build, met = harness.fake_builder.build, []

        def build_while_an_operator_goes_back(request: BuildRequest) -> BuiltImage:
            words = (command, *([before[:8]] if command == "promote" else []))
            met.append(script(harness, *words, "--yes", "--reason", "TLS fails", "-f", "json"))
            assert harness.octavia() == before
            return build(request)

        harness.fake_builder.build = build_while_an_operator_goes_back  # type: ignore[method-assign]
        report = harness.retrofit("run-once", "-o", "json").document
        (finished,) = met
        assert finished.returncode == 0, finished.stderr
        assert answer(finished.stdout)["order"] == "TLS fails"
        assert harness.octavia() == before
        assert (report["outcome"], report["promoted"]) == ("unchanged", [])
        (why,) = [each for each in report["reasons"] if "is not promoted" in each]
        assert "TLS fails" in why
        (built,) = [image.id for image in harness.amphorae() if image.id in why]
        # Nor does the next run promote it: only a person does.
        harness.fake_builder.build = build  # type: ignore[method-assign]
        assert harness.act("run-once")["image_id"] == before
        assert harness.act("promote", "--yes", built)["image_id"] == built

    def test_names_who_changed_an_image_and_why(self, harness: CloudHarness) -> None:
        before = harness.former("20260910", days=9)
        left = harness.promoted("20260911", days=3)
        harness.act("rollback", "--yes", "--reason", "TLS fails")
        shown = {each: harness.read("show", each[:8]) for each in (before, left)}
        assert shown[before]["promoted_by"]["why"] == "TLS fails"
        assert shown[left]["rejected_by"]["action"] == "rollback"
        assert shown[left]["demoted_by"]["by"].endswith(f"@{socket.gethostname()}")
        history = harness.retrofit("history", "-f", "csv").stdout
        assert "TLS fails" in history
        assert shown[before]["promoted_by"]["run_id"] in history

    def test_prints_values_and_takes_beginnings_of_ids(self, harness: CloudHarness) -> None:
        image_id = harness.promoted("20260911", days=3)
        listed = harness.retrofit("list", "-f", "value", "-c", "ID")
        assert listed.stdout == f"{image_id}\n"
        assert harness.read("show", image_id[:6])["id"] == image_id
        other = harness.retrofit("--os-cloud", "nobody", "list", exit_code=2)
        assert "nobody" in other.stderr

    def test_pauses_and_what_ended_them_are_in_the_history(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        harness.retrofit("pause", "--reason", "change freeze")
        again = harness.retrofit("pause", "--reason", "another", "-f", "json").document
        assert again["was"]["reason"] == "change freeze"
        harness.retrofit("resume")
        actions = harness.retrofit("history", "-f", "value", "-c", "action", "-c", "why").stdout
        assert [line.split()[0] for line in actions.splitlines()] == ["resume", "pause", "pause"]
        assert "change freeze" in actions

    def test_a_reader_that_has_seen_enough_gets_no_error(self, harness: CloudHarness) -> None:
        harness.promoted("20260911", days=3)
        harness.retrofit("repair")
        log = harness.path("logs") / "20261126T120000Z-abcdef"
        log.mkdir()
        (log / "build.log").write_text("x" * 70 + "\n" * 100_000)
        for words in ("list", "logs 20261126T1200 --file build.log"):
            piped = subprocess.run(
                ["bash", "-c", f"{RETROFIT} --config {harness.config} {words} | head -c 1"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
            )
            assert (len(piped.stdout), piped.stderr) == (1, "")

    def test_answers_on_stdout_and_tells_on_stderr(self, harness: CloudHarness) -> None:
        before = harness.former("20260910", days=9)
        harness.promoted("20260911", days=3)
        finished = script(harness, "rollback", "--yes", "-o", "yaml")
        assert finished.returncode == 0, finished.stderr
        assert f"image_id: {before}" in finished.stdout
        events = [json.loads(line)["event"] for line in finished.stderr.splitlines()]
        assert {"image promoted", "image demoted", "run ended"} <= set(events)
        assert harness.octavia() == before


class TestShow:
    """`retrofit list`, `show` and `status`."""

    def test_list_is_newest_first_and_says_how_each_stands(self, harness: CloudHarness) -> None:
        charm = harness.of_the_charm("20260901", days=20)
        older = harness.former("20260910", days=9, protected=True)
        standing = harness.promoted("20260911", days=3)
        rejected = harness.amphora(
            "20260912", days=1, retrofit_set_aside_at="2026-09-12T00:00:00+00:00"
        )
        harness.foreign(retrofit_target="default", tags=[TAG, CHARM_TAG])
        listed = harness.read("list")
        assert [image["id"] for image in listed] == [rejected, standing, older, charm]
        assert [image["promoted"] for image in listed] == [False, True, False, False]
        rows = {
            image_id: line
            for line in harness.retrofit("list").stdout.splitlines()
            for image_id in (charm, older, standing, rejected)
            if image_id in line
        }
        assert "active, hidden, protected" in rows[older]
        columns = ("list", "-f", "csv", "-c", "ID", "-c", "State")
        assert dict(csv.reader(harness.retrofit(*columns).stdout.splitlines()[1:])) == {
            rejected: "rejected",
            standing: "promoted",
            older: "demoted",
            charm: "of the charm",
        }
        assert "20260911" in rows[standing]

    def test_list_names_source_images_of_0_1_0_and_nothing_touches_them(
        self, harness: CloudHarness
    ) -> None:
        # As source.publish_stock of 0.1.0 left them: one of this target, one of another.
        source = harness.source("20260911", retrofit_stock="default")
        harness.source("20260910", retrofit_stock="other")
        standing = harness.promoted("20260911", days=3)
        before = harness.everything()[source]
        ours, theirs = harness.read("list")
        assert (ours["id"], ours["remark"]) == (standing, None)
        assert (theirs["id"], theirs["made_by"]) == (source, "retrofit 0.1.0")
        assert (theirs["state"], theirs["promoted"], theirs["usable"]) == (None, False, False)
        remark = (
            "source image published by retrofit 0.1.0 (source.publish_stock); retrofit no longer"
            " manages it"
        )
        assert theirs["remark"] == remark
        assert f"{source}: {remark}\n" in harness.retrofit("list").stdout
        assert harness.read("show", source)["remark"] == remark
        assert harness.act("run-once")["outcome"] == "unchanged"
        harness.retrofit("retire", "--yes")
        harness.refused("promote", "--yes", source, exit_code=7)
        assert harness.everything()[source] == before

    def test_show_tells_all_of_one_image(self, harness: CloudHarness) -> None:
        standing = harness.promoted("20260911", days=3, haproxy_version="2.8.5")
        shown = harness.read("show", standing)
        assert (shown["id"], shown["promoted"], shown["usable"]) == (standing, True, True)
        assert shown["properties"]["retrofit_recipe"] == harness.recipe
        table = harness.retrofit("show", standing).stdout
        for fact in (standing, harness.recipe, "2.8.5", "20260911"):
            assert fact in table

    @pytest.mark.parametrize("whose", ["nobody", "tenant", "stock"])
    def test_show_refuses_what_is_no_amphora_image(self, harness: CloudHarness, whose: str) -> None:
        image_id = UNKNOWN
        if whose == "tenant":
            image_id = harness.foreign(retrofit_target="default")
        elif whose == "stock":
            image_id = harness.source("20260911")
        assert f"image {image_id} is not" in harness.refused("show", image_id, exit_code=2)

    def test_status_tells_what_octavia_takes_and_how_the_last_run_ended(
        self, harness: CloudHarness
    ) -> None:
        assert harness.read("status")["promoted"] is None
        assert "nothing: no image carries the tag" in harness.retrofit("status").stdout
        harness.source("20260911")
        report = harness.act("run-once")
        status = harness.read("status")
        assert status["octavia_image"] == status["promoted"]["id"] == report["image_id"]
        assert status["project_id"] == harness.project
        assert status["last_run"]["run_id"] == report["run_id"]
        harness.act("rollback", "--yes", report["image_id"])
        assert harness.read("status")["last_run"]["run_id"] == report["run_id"]


class TestHistory:
    """`retrofit history` and `logs`."""

    @pytest.fixture
    def reports(self, harness: CloudHarness) -> list[Any]:
        """Reports of two runs and a rollback, oldest first."""
        harness.source("20260911")
        first = harness.act("run-once")
        harness.source("20260912")
        return [first, harness.act("run-once"), harness.act("rollback", "--yes")]

    def test_history_is_newest_first(self, harness: CloudHarness, reports: list[Any]) -> None:
        told = harness.read("history")
        assert {each["run_id"] for each in told} == {each["run_id"] for each in reports}
        assert sorted((each["run_id"] for each in told), reverse=True) == [
            each["run_id"] for each in told
        ]
        assert {each["action"] for each in told} == {"run", "rollback"}
        assert len(harness.read("history", "-n", "1")) == 1
        table = harness.retrofit("history").stdout
        assert all(each["run_id"] in table for each in reports)
        assert "new source version 20260912" in table

    def test_logs_tell_one_run_by_its_id_its_beginning_or_as_the_last(
        self, harness: CloudHarness, reports: list[Any]
    ) -> None:
        first, newest = reports[0]["run_id"], max(each["run_id"] for each in reports)
        assert harness.read("logs", "last")["run_id"] == newest
        assert "several runs begin with 2" in harness.refused("logs", "2", exit_code=2)
        assert "no logs of run 19990101" in harness.refused("logs", "19990101", exit_code=2)
        (Path(reports[0]["log_dir"]) / "build.log").write_text("a line of the build\n")
        for name in (first, first[:-2]):
            told = harness.read("logs", name)
            assert told["run_id"] == first
            assert told["report"]["image_id"] == reports[0]["image_id"]
            assert "image promoted" in [event["event"] for event in told["events"]]
            assert "build.log" in [file["name"] for file in told["files"]]
        assert (
            harness.retrofit("logs", first, "--file", "build.log").stdout == "a line of the build\n"
        )
        assert "image promoted" in harness.retrofit("logs", first).stdout

    def test_logs_show_no_file_but_those_of_the_run(self, harness: CloudHarness) -> None:
        harness.source("20260911")
        run_id = harness.act("run-once")["run_id"]
        for name in ("../../a.toml", "/etc/passwd", f"{'../' * 9}etc/passwd", "..", ""):
            finished = harness.retrofit("logs", run_id, "--file", name, exit_code=2)
            assert finished.stdout == ""
            assert "lists the files" in finished.stderr

    def test_there_is_no_history_before_the_first_run(self, harness: CloudHarness) -> None:
        assert harness.read("history") == []
        assert "no logs of run last" in harness.refused("logs", "last", exit_code=2)


class TestConfiguration:
    """`retrofit config`."""

    def test_check_says_that_all_is_well_and_show_shows_it(self, harness: CloudHarness) -> None:
        harness.toml = "[publish]\nkeep = 7\n"
        assert "targets: default" in harness.retrofit("config", "check").stdout
        assert harness.read("config", "show")["targets"][0]["publish"]["keep"] == 7

    def test_check_and_plan_name_variables_that_contradict_the_settings(
        self, harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = harness.directory / "theirs.yaml"
        theirs.write_text("clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:9/v3'}}}")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(theirs))
        for words in (("config", "check"), ("plan",)):
            _warn_of_ignored.cache_clear()
            finished = harness.retrofit(*words, exit_code=None)
            assert finished.exit_code != 3  # it is our cloud that is asked
            assert "environment variable ignored" in finished.stderr
            assert "OS_CLIENT_CONFIG_FILE" in finished.stderr
            assert str(harness.site.clouds_yaml) in finished.stderr

    def test_check_names_everything_that_is_wrong_at_once(self, harness: CloudHarness) -> None:
        harness.toml = '[publish]\nkeeep = 7\n[build]\nformat = "vmdk"\nmax_age = 0\n'
        said = harness.refused("config", "check", exit_code=2)
        for problem in ("publish.keeep", "build.format", "build.max_age"):
            assert problem in said


def test_completion_is_printed_for_each_shell(harness: CloudHarness) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_RETROFIT_COMPLETE" in harness.retrofit("completion", shell).stdout
    assert harness.retrofit("completion", "tcsh", exit_code=2).stderr


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name, command in sorted(commands.commands.items()):
        found.append((name,))
        below: dict[str, Any] = getattr(command, "commands", {})
        found.extend((name, each) for each in sorted(below))
    return found


def test_every_command_explains_itself(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for words in every_command():
        told = harness.retrofit(*words, "--help").stdout
        assert told.startswith("Usage: ")
        assert len(told.split("Options:")[0].split()) > 8, f"{words} says nothing of what it does"
        assert harness.retrofit(*words, "-h").stdout == told


@pytest.mark.parametrize("command", ["plan", "list", "status", "retire", "resume"])
def test_a_cloud_that_is_not_configured_is_named(harness: CloudHarness, command: str) -> None:
    harness.account = "no-such-cloud"
    assert "no-such-cloud" in harness.refused(command, exit_code=2)
