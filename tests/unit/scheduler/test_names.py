"""No name of a target is that of something else in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retrofit.config import ScheduleSettings
from retrofit.system import process
from scheduler import worker as module
from scheduler.jobs import ScheduledJob
from scheduler.runs import Runs
from scheduler.sd_notify import Notifier
from scheduler.worker import Worker

NAMES = ("rollover", "pulse", "default", "other")
TARGETS = "".join(
    f"[target.{name}]\npublish.tag = '{name}'\nrollover.enabled = true\n"
    f"schedule.interval = {hour}\n"
    for hour, name in enumerate(NAMES, start=3600)
)
"""Each is a job of its own, as their times differ."""


def test_targets_of_any_name_are_scheduled_beside_rollovers_and_pulse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = "".join(f'{key} = "{tmp_path}/{key}"\n' for key in ("state", "cache", "work", "logs"))
    config = tmp_path / "retrofit.toml"
    config.write_text(f"[paths]\n{paths}{TARGETS}")
    worker = Worker(config, notifier=Notifier.from_environment())
    settings = worker._configuration.accept(worker._configuration.read())
    scheduler = worker._scheduler
    start = scheduler.start
    monkeypatch.setattr(scheduler, "start", lambda: start(paused=True))
    (tmp_path / "state").mkdir()
    worker._start(settings)
    try:
        ids = [job.id for job in scheduler.get_jobs()]
        assert set(ids) > set(NAMES)
        assert len(ids) == len(set(ids)) == len(NAMES) + 2
        config.write_text(f"[paths]\n{paths}")
        worker._reload()
        assert len(scheduler.get_jobs()) == 1 + 1
        assert module.PULSE_ID in {job.id for job in scheduler.get_jobs()}
    finally:
        scheduler.shutdown(wait=False)


def test_a_rollover_and_a_run_of_a_target_called_so_are_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Runs()
    job = ScheduledJob(targets=("rollover",), schedule=ScheduleSettings())
    children: Any = iter(SimpleNamespace(pid=pid) for pid in (1, 2))
    seen: list[list[int]] = []

    def pids() -> list[int]:
        return sorted(each.child.pid for each in runs.running())

    def run(
        argv: Sequence[str | Path], *, timeout: float, on_start: Callable[[Any], None]
    ) -> process.Result:
        assert timeout > 0
        on_start(next(children))
        if "--if-enabled" in argv:
            runs.run(job, tmp_path)
        seen.append(pids())
        return process.Result(returncode=0, stdout="")

    monkeypatch.setattr(process, "run_with_our_stderr", run)
    runs.roll_over(job, tmp_path)
    assert seen == [[1, 2], [1]]
    assert pids() == []
