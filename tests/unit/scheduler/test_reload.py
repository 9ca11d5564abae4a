"""A configuration is taken whole or refused whole, whatever it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from scheduler import worker as module
from scheduler.sd_notify import Notifier
from scheduler.worker import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker whose scheduler has jobs and does not run."""
    write(tmp_path, "")
    made = Worker(tmp_path / "retrofit.toml", notifier=Notifier.from_environment())
    settings = made._configuration.accept(made._configuration.read())
    made._schedule(module._planned(settings))
    return made


def write(tmp_path: Path, text: str) -> None:
    paths = "".join(f'{key} = "{tmp_path}/{key}"\n' for key in ("state", "cache", "work", "logs"))
    (tmp_path / "retrofit.toml").write_text(f"[paths]\n{paths}{text}")


def facts(worker: Worker) -> tuple[object, ...]:
    jobs = [(job.id, str(job.trigger)) for job in worker._scheduler.get_jobs()]
    return worker._configuration.settings, worker._configuration._content, worker._jobs, jobs


@pytest.mark.parametrize(
    "text",
    [
        "[schedule]\ninterval = 1000000000000000\n",
        '[schedule]\ncron = "0 0 30 2 *"\n',
        '[target.new.schedule]\ncron = "0 0 31 4 *"\n',
        "[schedule]\njitter = 1000000000000\n",
        "[schedule]\ntime_limit = 9223372036854775807\n",
        "[web]\nhealthy_within = 1000000000000\n",
        "[target.new.publish]\nretire_after = 99999999\n",
        "[worker]\nparallel = 33\n",
        "x = " + "[" * 5000,
        "\x00",
        "[",
    ],
)
def test_one_that_cannot_be_used_changes_nothing(worker: Worker, tmp_path: Path, text: str) -> None:
    before = facts(worker)
    write(tmp_path, text)
    with structlog.testing.capture_logs() as logs:
        worker._reload()
    assert facts(worker) == before
    assert logs[0]["event"] == "configuration refused, the one before stays in force"


def test_neither_does_one_that_ends_in_an_error_of_ours(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_settings: object) -> None:
        raise OverflowError("date value out of range")

    before = facts(worker)
    write(tmp_path, "[target.new]\n")
    monkeypatch.setattr(module, "jobs_for", broken)
    worker._reload()
    assert facts(worker) == before


def test_a_good_one_is_taken_whole(worker: Worker, tmp_path: Path) -> None:
    write(tmp_path, "[target.new.schedule]\ninterval = 120\n")
    worker._reload()
    assert [job.id for job in worker._scheduler.get_jobs()] == ["new"]
    assert [target.name for target in worker._configuration.settings.targets] == ["new"]
