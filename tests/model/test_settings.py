"""Random settings: what is accepted runs, is shown as it was read, and ends nothing by a traceback.

CONFIGURATIONS in the environment is how many are tried; `make test-all` tries ten thousand.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from retrofit import pipeline
from retrofit.cli import render
from retrofit.config import Settings
from retrofit.config.file import parse
from retrofit.config.numbers import days
from retrofit.errors import ConfigError
from retrofit.notify.changes import after_run
from retrofit.redaction import MASK
from retrofit.runs.history import History
from retrofit.runs.report import RunReport
from retrofit.status.document import health
from scheduler.jobs import jobs_for
from scheduler.systemd_units import ALL_UNITS
from scheduler.systemd_units import Installation as Units
from scheduler.systemd_units import render as rendered
from tests.model.installations import Installation, Site
from tests.model.judge import Judge
from tests.model.lagging import ObservedWorld
from tests.model.processes import Processes
from tests.model.random_settings import SECRET, SECTIONS, documents, toml, variables
from tests.model.strangers import Strangers
from tests.thoroughness import CONFIGURATIONS

EACH = -(-CONFIGURATIONS // len(SECTIONS))
ACCEPTED: dict[str, int] = {}
PATCHED = {"freshness": {"check": False}}
"""Newer packages are asked of apt, a program of its own."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Files that settings may name: some are fit for it."""
    directory = Path(tempfile.mkdtemp(prefix="retrofit-settings-"))
    (directory / "file").write_text("x\n")
    (directory / "file").chmod(0o600)
    (directory / "world-writable").write_text("x\n")
    (directory / "world-writable").chmod(0o666)
    (directory / "elements" / "mine").mkdir(parents=True)
    (directory / "link").symlink_to("/var/lib")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_accepted_configuration_runs_and_is_shown_as_it_was_read(
    section: str, place: Path
) -> None:
    @settings(
        max_examples=EACH,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(documents(section, place), st.just({}) | variables(place))
    def tried(document: dict[str, Any], environment: dict[str, str]) -> None:
        document = {**document, "paths": {**_paths(place), **document.get("paths", {})}}
        if section != "freshness":
            document["freshness"] = {**document.get("freshness", {}), "check": False}
        with variables_alone(environment):
            accepted = read(toml(document))
        if isinstance(accepted, ConfigError):
            assert accepted.hint
            assert SECRET not in accepted.message
            return
        ACCEPTED[section] = ACCEPTED.get(section, 0) + 1
        shown_as_it_was_read(accepted)
        runs(accepted)
        is_scheduled(accepted)

    tried()
    # A test of what is refused alone would show nothing.
    assert ACCEPTED.get(section, 0) >= EACH / 10


def read(text: str) -> Settings | ConfigError:
    try:
        return parse(text.encode(), Path("retrofit.toml"))
    except ConfigError as error:
        return error


@contextmanager
def variables_alone(environment: dict[str, str]) -> Iterator[None]:
    others = {key: value for key, value in os.environ.items() if not key.startswith("RETROFIT_")}
    with patch.dict(os.environ, {**others, **environment}, clear=True):
        yield


def _paths(place: Path) -> dict[str, str]:
    return {key: str(place / key) for key in ("state", "cache", "work", "logs")}


def shown_as_it_was_read(accepted: Settings) -> None:
    """`config show` is a configuration, but for credentials."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        render.show_settings(accepted, "json")
    assert SECRET not in printed.getvalue()
    shown = json.loads(printed.getvalue())
    (target,) = shown.pop("targets")
    target.pop("name")
    again = {**without_nothing(shown), **without_nothing(target)}
    again.pop("formerly", None)
    if MASK in printed.getvalue():
        again = json.loads(json.dumps(again).replace(MASK, "masked"))
        again.get("lock", {}).pop("url", None)
        again["build"] = {k: v for k, v in again["build"].items() if "masked" not in json.dumps(v)}
        again["notify"].pop("url", None)
        again["notify"].pop("secret_file", None)
        for key in ("url", "proxy"):
            again["mirror"].pop(key, None)
        again["source"] |= {"origin": "glance", "trust": "auto"}
        with variables_alone({}):
            parse(toml(again).encode(), None)
        return
    with variables_alone({}):
        assert parse(toml(again).encode(), None) == accepted


def without_nothing(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out settings that are not set: TOML has no null."""
    return {
        key: without_nothing(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }


def runs(accepted: Settings) -> None:
    """Run three times, a new source and a week between: what is old is judged and retired."""
    world = ObservedWorld(0)
    strangers = Strangers(world, Judge(world))
    processes = Processes(world, Judge(world))
    target = accepted.targets[0].model_copy(
        update={"freshness": accepted.targets[0].freshness.model_copy(update={"check": False})}
    )
    site = Site(name="machine", host="host", directory=accepted.paths.state)
    owner = Installation(
        name="installation", tag=target.publish.tag, target_name=target.name, sites=[site]
    )

    def work(_process: Any) -> RunReport:
        return pipeline.run_once(target, accepted, build=processes.build, verify=processes.verify)

    history = History()
    with processes.installed():
        for _ in range(3):
            strangers.release(release="24.04")
            world.pass_time(days=8)
            report = processes.run(owner, site, "run", work).result
            assert report.exit_code != 1, report.error
            document = report.document()
            history, _ = after_run(
                history,
                document,
                now=world.now,
                stale_after=days(target.publish.stale_after),
                host="host",
            )
    health((), accepted, now=world.now, since=world.now - timedelta(days=1))
    shutil.rmtree(accepted.paths.state, ignore_errors=True)


def is_scheduled(accepted: Settings) -> None:
    """Do what the worker and the installer do with times."""
    from datetime import UTC, datetime

    now = datetime(2026, 11, 27, tzinfo=UTC)
    for job in jobs_for(accepted):
        assert job.first_run({}, now) >= now
        first = job.first_run({job.targets[0]: now - timedelta(hours=1)}, now)
        assert now <= first <= job.latest(now) + timedelta(days=366 * 8)
        assert job.trigger().get_next_fire_time(None, now) is not None
        assert job.time_limit > 0
    limit = sum(each.schedule.time_limit for each in accepted.targets)
    units = Units(
        programs=Path("/usr/bin"), worker_stop=accepted.worker.stop_timeout, run_limit=limit
    )
    for name in ALL_UNITS:
        rendered(name, units)
