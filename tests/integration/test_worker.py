"""The worker as a process: its times, its signals, and what is left when it ends in any way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.harness import TAG, CloudHarness
from tests.integration.worker_site import Site, eventually

SCHEDULER = Path(sys.executable).with_name("retrofit-scheduler")
HOUR = {"interval": 3600}


@pytest.fixture
def site(harness: CloudHarness, tmp_path: Path) -> Site:
    return Site(
        root=tmp_path / "machine",
        config={"cloud": harness.cloud, "schedule": HOUR},
        builds=tmp_path / "builds",
    )


def next_run(site: Site, target: str = "default") -> datetime:
    return datetime.fromisoformat(site.timetable()["targets"][target]["next_run"])


def nothing_left(site: Site) -> bool:
    return not [*site.work.glob("*/*"), *site.work.glob("**/mounted")]


def test_runs_what_was_missed_and_then_keeps_to_its_times(
    site: Site, harness: CloudHarness
) -> None:
    harness.source("20260911")
    with site.worker() as worker:
        ended = worker.wait_for("run-once ended")
        assert (ended["exit_code"], ended["outcomes"]) == (0, {"default": "published"})
        eventually(lambda: site.timetable()["targets"]["default"]["running_since"] is None, "idle")
        assert site.timetable()["pid"] == worker.process.pid
        assert site.timetable()["targets"]["default"]["trigger"] == "every hour"
        assert worker.end_by(signal.SIGTERM) == 0
    assert not (site.root / "state" / "schedule.json").exists()
    # Started again, it counts from the last run, and has none to make up for.
    (report,) = site.reports()
    with site.worker() as worker:
        due = datetime.fromisoformat(report["started_at"]) + timedelta(hours=1)
        assert next_run(site) == due
        assert worker.end_by(signal.SIGINT) == 130
    assert len(site.reports()) == 1
    assert [image.tags for image in harness.amphorae()] == [{TAG}]


def test_a_failing_run_does_not_end_the_worker(site: Site, harness: CloudHarness) -> None:
    with site.worker() as worker:
        assert worker.wait_for("run-once ended")["exit_code"] == 4  # no source image
        harness.source("20260911")
        worker.send(signal.SIGUSR1)
        # Meanwhile, a second worker on the same state is told so.
        second = [SCHEDULER, "--config", site.config_file]
        refused = subprocess.run(second, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 75
        assert refused.stderr.startswith("error: another worker uses")
        assert worker.wait_for("run-once ended", count=2)["exit_code"] == 0
    assert len(harness.amphorae()) == 1


def test_a_stopped_worker_has_its_run_clean_up(site: Site, harness: CloudHarness) -> None:
    harness.source("20260911")
    site.gate.touch()
    with site.worker() as worker:
        eventually(lambda: site.recorded() == ["begun"], "a build", worker.log)
        assert worker.end_by(signal.SIGTERM) == 0
        assert worker.wait_for("run-once ended")["exit_code"] == 130
    assert site.recorded() == ["begun", "cleaned"]
    assert nothing_left(site)
    assert harness.amphorae() == []


def test_a_killed_worker_takes_its_run_along_and_the_next_heals(
    site: Site, harness: CloudHarness
) -> None:
    harness.source("20260911")
    site.gate.touch()
    with site.worker() as worker:
        eventually(lambda: site.recorded() == ["begun"], "a build", worker.log)
        run = Path("/proc", str(worker.run_pid()))
        worker.end_by(signal.SIGKILL)
        eventually(lambda: not run.exists(), "the end of the run", worker.log)
    assert site.recorded() == ["begun", "cleaned"]
    assert nothing_left(site)
    site.gate.unlink()
    # It was not run to its end: that is one missed.
    with site.worker() as worker:
        worker.wait_for("run-once ended", outcomes={"default": "published"})
    assert len(harness.amphorae()) == 1


def test_reads_the_configuration_again_and_refuses_a_bad_one(
    site: Site, harness: CloudHarness
) -> None:
    harness.source("20260911")
    site.gate.touch()
    with site.worker() as worker:
        eventually(lambda: site.recorded() == ["begun"], "a build", worker.log)
        site.write(publish={"tag": "other"}, schedule={"cron": "30 2 * * mon-fri"})
        worker.send(signal.SIGHUP)
        worker.wait_for("configuration read again")
        # Written after the event, and at first with the run that is due: one is running already.
        trigger = "cron 30 2 * * mon-fri UTC"
        eventually(
            lambda: (
                site.timetable()["targets"]["default"]["trigger"] == trigger
                and (next_run(site).hour, next_run(site).minute) == (2, 30)
            ),
            trigger,
            worker.log,
        )
        # The run that goes on keeps to what it began with.
        site.gate.unlink()
        worker.wait_for("run-once ended")
        assert [image.tags for image in harness.amphorae()] == [{TAG}]
        # A bad one is refused, and what is in the file then reaches no run either.
        site.write(publish={"tga": "typo"})
        worker.send(signal.SIGHUP)
        refused = worker.wait_for("configuration refused, the one before stays in force")
        assert "publish.tga: unknown setting; did you mean 'tag'?" in refused["error"]
        worker.send(signal.SIGUSR1)
        assert worker.wait_for("run-once ended", count=2)["exit_code"] == 0
        assert harness.octavia("other") is not None


@pytest.mark.slow
def test_one_build_serves_targets_that_ask_for_the_same(site: Site, harness: CloudHarness) -> None:
    harness.source("20260911")
    site.write(**{"target.one.publish": {"tag": "one"}, "target.two.publish": {"tag": "two"}})
    with site.worker() as worker:
        ended = worker.wait_for("run-once ended")
        assert ended["outcomes"] == {"one": "published", "two": "published"}
        assert set(site.timetable()["targets"]) == {"one", "two"}
    assert site.recorded() == ["begun", "ended"]
    assert [len(harness.amphorae(target)) for target in ("one", "two")] == [1, 1]


def test_tells_systemd_what_it_does(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    heard: list[dict[str, str]] = []

    def hear(name: str) -> dict[str, str]:
        """Listen until a message has a field of this name."""
        while True:
            message = manager.recv(4096).decode()
            heard.append(dict(line.split("=", 1) for line in message.splitlines()))
            if name in heard[-1]:
                return heard[-1]

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with manager, site.worker() as worker:
        said = hear("READY")
        assert said["READY"] == "1"
        while said["STATUS"] != "running: default":  # the first run may begin a little later
            said = hear("STATUS")
        hear("WATCHDOG")
        hear("WATCHDOG")
        worker.wait_for("run-once ended")
        while not hear("STATUS")["STATUS"].startswith("next run: default at 20"):
            pass
        worker.send(signal.SIGHUP)
        assert int(hear("RELOADING")["MONOTONIC_USEC"]) > 0
        assert hear("READY")["READY"] == "1"
        os.kill(worker.process.pid, signal.SIGTERM)
        assert hear("STOPPING")["STATUS"] == "stopping"
        assert worker.process.wait(60) == 0
