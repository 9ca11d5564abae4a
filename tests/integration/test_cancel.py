"""`retrofit cancel`: the run of this machine ends as by Ctrl-C, and all else stays as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.answers import answer
from tests.integration.harness import CloudHarness
from tests.integration.worker_site import PATIENCE, Site, eventually
from tests.unit.named_commands import commands_in

RETROFIT = Path(sys.executable).with_name("retrofit")


@pytest.fixture
def site(harness: CloudHarness, tmp_path: Path) -> Site:
    return Site(
        root=tmp_path / "machine",
        config={"cloud": harness.cloud, "schedule": {"interval": 3600}},
        builds=tmp_path / "builds",
    )


def retrofit(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RETROFIT, "--config", site.config_file, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_ends_the_run_that_builds_and_names_it(site: Site, harness: CloudHarness) -> None:
    harness.source("20260912")
    standing = harness.promoted("20260911", days=3)
    site.gate.touch()
    with site.worker() as worker:
        eventually(lambda: site.recorded() == ["begun"], "a build", worker.log)
        refused = retrofit(site, "run-once", "-f", "json")
        assert refused.returncode == 75
        error: dict[str, Any] = answer(refused.stdout)["error"]
        assert f"process {worker.run_pid()}, since " in error["message"]
        assert "now at the step build" in error["message"]
        (command,) = commands_in(error["hint"], is_page=False)
        assert command == "retrofit --target default cancel"
        cancelled = retrofit(site, *command.split()[1:], "-f", "json")
        assert cancelled.returncode == 0, cancelled.stderr
        document = answer(cancelled.stdout)
        assert (document["target"], document["step"]) == ("default", "build")
        assert document["pid"] == worker.run_pid()
        assert worker.wait_for("run-once ended")["exit_code"] == 130
        assert site.recorded() == ["begun", "cleaned"]
        assert harness.octavia() == standing
        (report,) = site.reports()
        assert report["run_id"] == document["run_id"]


def test_without_a_run_nothing_is_ended(site: Site, harness: CloudHarness) -> None:
    refused = retrofit(site, "cancel")
    assert refused.returncode == 2
    assert "no run of target default is going on on this machine" in refused.stderr
    assert "hint: " in refused.stderr
