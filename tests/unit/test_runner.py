from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from retrofit import runner as recorded_module
from retrofit.config import PathSettings, Settings, Target
from retrofit.errors import BuildError
from retrofit.lock.lock import held
from retrofit.runner import run_action
from retrofit.runs import directory, store
from retrofit.runs.events import FILE, events, keep_event
from retrofit.runs.report import RunReport
from retrofit.system.signals import interruptible

TARGET = Target()
log = structlog.get_logger("tests")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    names = ("state", "cache", "work", "logs")
    paths = PathSettings(**{name: tmp_path / name for name in names}, keep_logs=2)
    return Settings(targets=(TARGET,), paths=paths)


@pytest.fixture(autouse=True)
def structlog_as_the_command_line_has_it() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            keep_event,
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=False,
    )
    yield
    structlog.configure(**before)


def told(report: RunReport) -> list[str]:
    return [event["event"] for event in events(report.log_dir)]


def test_good_work_leaves_its_report_and_its_story(settings: Settings) -> None:
    def work(report: RunReport) -> None:
        log.info("image promoted", image_id="1")
        report.outcome = "published"

    report = run_action(TARGET, settings, "run", work)
    assert (report.outcome, report.exit_code) == ("published", 0)
    assert json.loads((report.log_dir / "report.json").read_text()) == report.document().as_dict()
    assert told(report) == ["image promoted", "run ended"]
    story = list(events(report.log_dir))
    assert story[0]["image_id"] == "1"
    assert all((e["run_id"], e["target"]) == (report.run_id, "default") for e in story)


def test_a_failure_of_the_trade_is_in_the_report(settings: Settings) -> None:
    def work(report: RunReport) -> None:
        raise BuildError("no space", hint="free some")

    report = run_action(TARGET, settings, "run", work)
    assert (report.outcome, report.exit_code) == ("failed", 5)
    assert report.document().as_dict()["error"] == {
        "code": "build",
        "message": "no space",
        "hint": "free some",
    }
    assert list(events(report.log_dir))[-1]["error"] == "no space"


def test_a_bug_is_exit_code_1_and_its_traceback_is_in_the_story(settings: Settings) -> None:
    def work(report: RunReport) -> None:
        raise ZeroDivisionError("ours")

    report = run_action(TARGET, settings, "promote", work)
    assert (report.outcome, report.exit_code) == ("failed", 1)
    assert report.document().as_dict()["error"]["message"] == "ZeroDivisionError: ours"
    (bug,) = [event for event in events(report.log_dir) if event["event"] == "internal error"]
    assert "Traceback" in bug["exception"]
    assert json.loads((report.log_dir / "report.json").read_text())["outcome"] == "failed"


@pytest.mark.parametrize(
    ("action", "step", "exit_code"),
    [("run", "plan", 5), ("run", "fetch", 5), ("run", "upload", 7), ("rollback", "promote", 7)],
)
@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device", "/x")])
def test_what_the_machine_is_short_of_is_no_bug(
    settings: Settings, action: Any, step: str, exit_code: int, error: Exception
) -> None:
    def work(report: RunReport) -> None:
        with report.step(step):
            raise error

    report = run_action(TARGET, settings, action, work)
    assert (report.outcome, report.exit_code) == ("failed", exit_code)
    assert report.error is not None
    assert report.error.message.startswith(f"cannot finish the {action} after {step}: ")
    assert report.error.hint
    assert "internal error" not in told(report)


def test_an_interruption_says_during_what_it_came(settings: Settings) -> None:
    def work(report: RunReport) -> None:
        with report.step("plan"):
            pass
        with report.step("build"):
            raise KeyboardInterrupt

    report = run_action(TARGET, settings, "run", work)
    assert (report.outcome, report.exit_code) == ("interrupted", 130)
    assert report.error is not None
    assert report.error.message == "the run was interrupted during build"
    assert told(report)[-1] == "run ended"

    def at_once(report: RunReport) -> None:
        raise KeyboardInterrupt

    report = run_action(TARGET, settings, "retire", at_once)
    assert report.error is not None
    assert report.error.message == "the retire was interrupted during its start"


def test_a_busy_target_leaves_no_logs(settings: Settings) -> None:
    def never(report: RunReport) -> None:
        raise AssertionError("somebody else is at work")

    with held(settings.lock, settings.paths.state, TARGET.name):
        report = run_action(TARGET, settings, "run", never)
    assert (report.outcome, report.exit_code) == ("locked", 75)
    assert not settings.paths.logs.exists()
    report = run_action(TARGET, settings, "run", lambda _: None)
    assert report.error is None


def test_without_a_place_for_logs_nothing_is_begun(settings: Settings) -> None:
    def never(report: RunReport) -> None:
        raise AssertionError("there is no place for its logs")

    settings.paths.logs.write_text("a file is in the way")
    report = run_action(TARGET, settings, "run", never)
    assert (report.outcome, report.exit_code) == ("failed", 2)
    assert report.error is not None
    assert "paths.logs" in (report.error.hint or "")


def test_the_lock_is_free_after_whatever_ended_the_work(settings: Settings) -> None:
    for error in (BuildError("x"), ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3)):

        def work(report: RunReport, error: BaseException = error) -> None:
            raise error

        try:
            run_action(TARGET, settings, "run", work)
        except SystemExit:
            pass
        with held(settings.lock, settings.paths.state, TARGET.name):
            pass


def test_a_disk_that_fills_up_costs_the_story_and_not_the_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(report: RunReport) -> None:
        for number in range(100):
            log.info("step started", number=number)
        report.outcome = "published"

    with monkeypatch.context() as patched:
        make = recorded_module._make_log_directory

        def make_on_a_full_disk(report: RunReport) -> None:
            make(report)
            (report.log_dir / FILE).symlink_to("/dev/full")

        patched.setattr(recorded_module, "_make_log_directory", make_on_a_full_disk)
        report = run_action(TARGET, settings, "run", work)
    assert (report.outcome, report.error) == ("published", None)


def test_a_run_that_is_stopped_while_it_writes_its_report_leaves_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text = store.write_text

    def stopped_first(path: Path, text: str) -> None:
        if path.name == directory.REPORT:
            os.kill(os.getpid(), signal.SIGTERM)
        write_text(path, text)

    def work(report: RunReport) -> None:
        report.outcome = "unchanged"

    monkeypatch.setattr(store, "write_text", stopped_first)
    with pytest.raises(KeyboardInterrupt), interruptible():
        run_action(TARGET, settings, "run", work)
    (report,) = settings.paths.logs.glob("*/report.json")
    assert json.loads(report.read_text())["outcome"] == "unchanged"
