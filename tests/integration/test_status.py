"""How a real cloud's targets stand, told by status, page, JSON, metrics and the worker alike."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from markupsafe import escape
from prometheus_client.parser import text_string_to_metric_families

from retrofit.config.file import load
from retrofit.operations.status import status_now
from retrofit.runs.history import read_history
from retrofit.status import STATES
from retrofit.times import iso
from scheduler.web.page import status_page
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness
from tests.integration.receiver import receiving
from tests.integration.worker_site import Site, eventually
from tests.unit.status.test_document import SCHEMA


def numbers(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Metrics by name and label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            of_target = {key: value for key, value in sample.labels.items() if key != "cloud"}
            labels = tuple(value for _, value in sorted(of_target.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def state_of(metrics: dict[str, dict[tuple[str, ...], float]]) -> str:
    states = {state for (state, _), on in metrics["retrofit_target_state"].items() if on}
    (state,) = states & set(STATES)
    return state


def test_each_turn_of_a_targets_life_is_told_alike_by_all(
    harness: CloudHarness, tmp_path: Path
) -> None:
    textfile = tmp_path / "retrofit.prom"
    harness.toml = f'{RETENTION_AT_ONCE}[metrics]\ntextfile = "{textfile}"\n'

    def told() -> dict[str, Any]:
        """What status says, held against the page, the JSON and, after a run, the textfile."""
        status = harness.read("status")
        document = status_now(load(harness.config))
        jsonschema.validate(document.as_dict(), SCHEMA)
        (target,) = document.as_dict()["targets"]
        for key in ("state", "states", "summary", "image_states", "octavia_image", "last_run"):
            assert target[key] == status[key], key
        assert str(escape(status["summary"])) in status_page(document)
        return dict(status)

    first = told()
    assert first["state"] == "never_run"
    assert first["next_run"]["action"] == "fail"  # there is no source
    harness.source("20260911")
    assert told()["next_run"]["action"] == "build"
    published = harness.act("run-once")["image_id"]
    after = told()
    assert (after["state"], after["promoted"]["id"]) == ("ok", published)
    assert after["next_run"]["action"] == "none"
    table = harness.retrofit("status").stdout
    assert after["summary"] in table
    assert after["next_run"]["sentence"] in table
    history = read_history(harness.path("state"), "default")
    assert history.image_id == published
    assert history.image_created_at is not None
    assert iso(history.image_created_at) == after["promoted"]["created_at"]
    metrics = numbers(textfile.read_text())
    assert state_of(metrics) == "ok"
    assert metrics["retrofit_runs_total"][("published", "default")] == 1
    assert metrics["retrofit_images"][("promoted", "default")] == 1
    assert metrics["retrofit_last_success_timestamp_seconds"][("default",)] > 1.7e9
    assert {"build", "verify", "upload"} <= {
        step for step, _ in metrics["retrofit_step_duration_seconds"]
    }
    # A newer source whose image is no amphora.
    harness.source("20260912")
    harness.fake_builder.failing_check = "lvs-masquerade.sh"
    harness.retrofit("run-once", exit_code=6)
    failed = told()
    assert failed["state"] == "failed"
    assert failed["promoted"]["id"] == published
    assert failed["failing_since"]
    assert state_of(numbers(textfile.read_text())) == "failed"
    harness.retrofit("run-once", exit_code=6)
    assert told()["state"] == "backoff"
    harness.retrofit("pause", "--reason", "maintenance")
    assert told()["states"] == ["paused", "backoff"]
    harness.retrofit("resume")
    # The cloud goes away: what this machine knows is still told.
    with harness.site.without_glance():
        answer = harness.retrofit("status", "-o", "json", exit_code=3)
        assert answer.document["state"] == "cloud_unreachable"
        assert answer.document["last_run"]["outcome"] == "backoff"
        assert "hint: " in answer.stderr


@pytest.fixture
def site(harness: CloudHarness, tmp_path: Path) -> Site:
    return Site(
        root=tmp_path / "machine",
        config={
            "cloud": harness.cloud,
            "schedule": {"interval": 3600},
            "web": {"enabled": True, "port": 0, "refresh": 5},
        },
        builds=tmp_path / "builds",
    )


def get(url: str) -> tuple[int, str]:
    answer = requests.get(url, timeout=30)
    return answer.status_code, answer.text


def test_the_worker_serves_what_goes_on_and_has_it_told(site: Site, harness: CloudHarness) -> None:
    harness.source("20260911")
    with receiving() as receiver:
        site.config["notify"] = {"url": receiver.url}
        site.write()
        site.gate.touch()
        receiver.behave = "stall"  # nobody waits for it: neither the run nor the worker
        with site.worker() as worker:
            url = worker.wait_for("status page served")["url"]

            def target() -> dict[str, Any]:
                document = json.loads(get(f"{url}api/v2/status")[1])
                jsonschema.validate(document, SCHEMA)
                return dict(document["targets"][0])

            running = eventually(
                lambda: (now := target())["running"] and now["running"]["doing"] and now,
                "the run on the page",
                worker.log,
            )
            assert running["state"] == "running"
            assert running["running"]["since"]
            assert numbers(get(f"{url}metrics")[1])["retrofit_lock_held"][("default",)] == 1
            assert "A run of default is in progress" in get(url)[1]
            assert get(f"{url}runs/{running['running']['run_id']}/")[0] == 200
            site.gate.unlink()
            worker.wait_for("run-once ended")
            good = eventually(
                lambda: (now := target())["state"] == "ok" and now, "good", worker.log
            )
            assert good["promoted"]["source_version_name"] == "20260911"
            assert good["runs"][0]["outcome"] == "published"
            assert good["next_run"]["at"]
            assert get(f"{url}healthz")[0] == 200
            log = f"{url}runs/{good['runs'][0]['run_id']}/build.log"
            assert "disk-image-create" in get(log)[1]
            receiver.behave = "take"
            receiver.woken.set()
            eventually(lambda: receiver.taken, "the webhook")
            assert worker.end_by(signal.SIGTERM) == 0
        assert [change["event"] for change in receiver.taken] == ["published"]
        assert receiver.taken[0]["image_id"] == good["promoted"]["id"]
