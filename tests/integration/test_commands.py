"""The commands that show and tell, and the console script itself, on a terminal and without."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from retrofit.cli.root import retrofit as commands
from tests.integration.stage import CHARM_TAG, TAG, Stage

RETROFIT = Path(sys.executable).with_name("retrofit")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
PATIENCE = 300.0
"""Seconds until a program on a terminal is given up."""


def script(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as operators and timers do."""
    return subprocess.run(
        [RETROFIT, "--config", stage.config, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def on_terminal(stage: Stage, *words: str, question: str, answer: str) -> tuple[int, str]:
    """Run the console script on a terminal, and answer when it asks."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [RETROFIT, "--config", stage.config, *words],
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
    def test_rollback_does_what_was_answered(self, stage: Stage, answer: str, code: int) -> None:
        before = stage.former("20260910", days=9)
        standing = stage.promoted("20260911", days=3)
        exit_code, told = on_terminal(stage, "rollback", question="[y/N]", answer=answer)
        assert f"Promote {before}" in told.replace("\r\n", "")
        assert exit_code == code, told
        assert stage.octavia() == (before if code == 0 else standing)
        if code:
            assert "nothing was changed" in told
            assert stage.tagged() == {standing}
            assert "retrofit_set_aside_at" not in stage.image(standing)


class TestScript:
    """The console script, in a process of its own."""

    def test_says_while_a_run_goes_on_that_it_is_busy_and_changes_nothing(
        self, stage: Stage
    ) -> None:
        stage.source("20260912")
        stage.former("20260910", days=9)
        standing = stage.promoted("20260911", days=3)
        build, met = stage.workshop.build, []

        def build_while_an_operator_goes_back(source: Path, **asked: Any) -> Any:
            met.append(script(stage, "rollback", "--yes", "-o", "json"))
            met.append(script(stage, "run-once", "-o", "json"))
            assert stage.octavia() == standing
            return build(source, **asked)

        stage.workshop.build = build_while_an_operator_goes_back  # type: ignore[method-assign]
        assert stage.act("run-once")["outcome"] == "published"
        for finished in met:
            assert finished.returncode == 75, finished.stderr
            report = json.loads(finished.stdout)
            assert (report["outcome"], report["error"]["code"]) == ("busy", "busy")
            assert "wait for it to end" in report["error"]["hint"]

    def test_answers_on_stdout_and_tells_on_stderr(self, stage: Stage) -> None:
        before = stage.former("20260910", days=9)
        stage.promoted("20260911", days=3)
        finished = script(stage, "rollback", "--yes", "-o", "yaml")
        assert finished.returncode == 0, finished.stderr
        assert f"image_id: {before}" in finished.stdout
        events = [json.loads(line)["event"] for line in finished.stderr.splitlines()]
        assert {"image promoted", "image demoted", "run ended"} <= set(events)
        assert stage.octavia() == before


class TestShow:
    """`retrofit list`, `show` and `status`."""

    def test_list_is_newest_first_and_says_how_each_stands(self, stage: Stage) -> None:
        charm = stage.of_the_charm("20260901", days=20)
        older = stage.former("20260910", days=9, protected=True)
        standing = stage.promoted("20260911", days=3)
        aside = stage.amphora("20260912", days=1, retrofit_set_aside_at="2026-09-12T00:00:00+00:00")
        stage.foreign(retrofit_target="default", tags=[TAG, CHARM_TAG])
        listed = stage.read("list")
        assert [image["id"] for image in listed] == [aside, standing, older, charm]
        assert [image["promoted"] for image in listed] == [False, True, False, False]
        rows = {
            image_id: line
            for line in stage.retrofit("list").stdout.splitlines()
            for image_id in (charm, older, standing, aside)
            if image_id in line
        }
        assert "active, hidden, protected" in rows[older]
        assert "set aside" in rows[aside]
        assert "of the charm" in rows[charm]
        assert "20260911" in rows[standing]

    def test_show_tells_all_of_one_image(self, stage: Stage) -> None:
        standing = stage.promoted("20260911", days=3, haproxy_version="2.8.5")
        shown = stage.read("show", standing)
        assert (shown["id"], shown["promoted"], shown["usable"]) == (standing, True, True)
        assert shown["properties"]["retrofit_recipe"] == stage.recipe
        table = stage.retrofit("show", standing).stdout
        for fact in (standing, stage.recipe, "2.8.5", "20260911"):
            assert fact in table

    @pytest.mark.parametrize("whose", ["nobody", "tenant", "stock"])
    def test_show_refuses_what_is_no_amphora_image(self, stage: Stage, whose: str) -> None:
        image_id = UNKNOWN
        if whose == "tenant":
            image_id = stage.foreign(retrofit_target="default")
        elif whose == "stock":
            image_id = stage.source("20260911")
        assert f"image {image_id} is not" in stage.refused("show", image_id, exit_code=2)

    def test_status_tells_what_octavia_takes_and_how_the_last_run_ended(self, stage: Stage) -> None:
        assert stage.read("status")["promoted"] is None
        assert "nothing: no image carries the tag" in stage.retrofit("status").stdout
        stage.source("20260911")
        report = stage.act("run-once")
        status = stage.read("status")
        assert status["octavia_takes"] == status["promoted"]["id"] == report["image_id"]
        assert status["project_id"] == stage.project
        assert status["last_run"]["run_id"] == report["run_id"]
        stage.act("rollback", "--yes", report["image_id"])
        assert stage.read("status")["last_run"]["run_id"] == report["run_id"]


class TestHistory:
    """`retrofit history` and `logs`."""

    @pytest.fixture
    def reports(self, stage: Stage) -> list[Any]:
        """Reports of two runs and a rollback, oldest first."""
        stage.source("20260911")
        first = stage.act("run-once")
        stage.source("20260912")
        return [first, stage.act("run-once"), stage.act("rollback", "--yes")]

    def test_history_is_newest_first(self, stage: Stage, reports: list[Any]) -> None:
        told = stage.read("history")
        assert {each["run_id"] for each in told} == {each["run_id"] for each in reports}
        assert sorted((each["run_id"] for each in told), reverse=True) == [
            each["run_id"] for each in told
        ]
        assert {each["action"] for each in told} == {"run", "rollback"}
        assert len(stage.read("history", "-n", "1")) == 1
        table = stage.retrofit("history").stdout
        assert all(each["run_id"] in table for each in reports)
        assert "new source version 20260912" in table

    def test_logs_tell_one_run_by_its_id_or_its_beginning(
        self, stage: Stage, reports: list[Any]
    ) -> None:
        first = reports[0]["run_id"]
        (Path(reports[0]["log_dir"]) / "build.log").write_text("a line of the build\n")
        for name in (first, first[:-2]):
            told = stage.read("logs", name)
            assert told["run_id"] == first
            assert told["report"]["image_id"] == reports[0]["image_id"]
            assert "image promoted" in [event["event"] for event in told["events"]]
            assert "build.log" in [file["name"] for file in told["files"]]
        assert (
            stage.retrofit("logs", first, "--file", "build.log").stdout == "a line of the build\n"
        )
        assert "image promoted" in stage.retrofit("logs", first).stdout

    def test_logs_take_last(self, stage: Stage, reports: list[Any]) -> None:
        newest = max(each["run_id"] for each in reports)
        assert stage.read("logs", "last")["run_id"] == newest

    def test_logs_refuse_what_is_no_run_or_several(self, stage: Stage, reports: list[Any]) -> None:
        assert "several runs begin with 2" in stage.refused("logs", "2", exit_code=2)
        assert "no logs of run 19990101" in stage.refused("logs", "19990101", exit_code=2)

    def test_logs_show_no_file_but_those_of_the_run(self, stage: Stage, reports: list[Any]) -> None:
        for name in ("../../a.toml", "/etc/passwd", f"{'../' * 9}etc/passwd", "..", ""):
            finished = stage.retrofit("logs", reports[0]["run_id"], "--file", name, exit_code=2)
            assert finished.stdout == ""
            assert "lists the files" in finished.stderr

    def test_there_is_no_history_before_the_first_run(self, stage: Stage) -> None:
        assert stage.read("history") == []
        assert "no logs of run last" in stage.refused("logs", "last", exit_code=2)


class TestConfiguration:
    """`retrofit config`."""

    def test_check_says_that_all_is_well_and_show_shows_it(self, stage: Stage) -> None:
        stage.toml = "[publish]\nkeep = 7\n"
        assert "targets: default" in stage.retrofit("config", "check").stdout
        assert stage.read("config", "show")["targets"][0]["publish"]["keep"] == 7

    def test_check_names_everything_that_is_wrong_at_once(self, stage: Stage) -> None:
        stage.toml = '[publish]\nkeeep = 7\n[build]\nformat = "vmdk"\nmax_age = 0\n'
        said = stage.refused("config", "check", exit_code=2)
        for problem in ("publish.keeep", "build.format", "build.max_age"):
            assert problem in said


def test_completion_is_printed_for_each_shell(stage: Stage) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_RETROFIT_COMPLETE" in stage.retrofit("completion", shell).stdout
    assert stage.retrofit("completion", "tcsh", exit_code=2).stderr


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name, command in sorted(commands.commands.items()):
        found.append((name,))
        below: dict[str, Any] = getattr(command, "commands", {})
        found.extend((name, each) for each in sorted(below))
    return found


def test_every_command_explains_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for words in every_command():
        told = stage.retrofit(*words, "--help").stdout
        assert told.startswith("Usage: ")
        assert len(told.split("Options:")[0].split()) > 8, f"{words} says nothing of what it does"
        assert stage.retrofit(*words, "-h").stdout == told


@pytest.mark.parametrize("command", ["plan", "list", "status", "retire", "resume"])
def test_a_cloud_that_is_not_configured_is_named(stage: Stage, command: str) -> None:
    stage.account = "no-such-cloud"
    assert "no-such-cloud" in stage.refused(command, exit_code=2)
