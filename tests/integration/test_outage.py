"""Octavia finds no image, since another hand took it: who notices, and what comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud.servers import Cloud
from tests.integration.harness import TAG, CloudHarness, days_ago
from tests.integration.receiver import Receiver, receiving
from tests.integration.test_presence import gone, stored
from tests.integration.worker_site import Site, eventually

RULES = Path(__file__).resolve().parents[2] / "monitoring" / "retrofit.rules.yml"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def hanging(cloud: Cloud, service: str) -> Iterator[None]:
    """Have a service of the cloud take connections, and answer nothing."""
    # Its server and that one's workers are a group of their own.
    group = os.getpgid(json.loads(cloud.pid_file(service).read_text())["pid"])
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


class Outage:
    """A worker with page and webhook, whose target has an image; and a watch on all it shows."""

    def __init__(
        self, harness: CloudHarness, receiver: Receiver, root: Path, **worker: Any
    ) -> None:
        self.harness = harness
        self.receiver = receiver
        self.port = free_port()
        self.site = Site(
            root=root / "machine",
            config={
                "cloud": harness.cloud,
                "schedule": {"interval": 3600},
                "web": {"enabled": True, "port": self.port},
                "notify": {"url": receiver.url},
                **({"worker": worker} if worker else {}),
            },
            builds=root / "builds",
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def events(self) -> list[str]:
        return [each["event"] for each in self.receiver.taken]

    def is_calm(self) -> bool:
        """Healthy, and with the facts of after the run."""
        return (
            self.get("/healthz")[0] == 200 and "retrofit_image_promoted" in self.get("/metrics")[1]
        )

    def hide(self, image_id: str) -> float:
        self.harness.client.images.update(image_id, os_hidden=True)
        return time.monotonic()

    def seconds(self, began: float, holds: Any, what: str, within: float) -> float:
        eventually(holds, what, self.site.root / "worker.log", within=within)
        return time.monotonic() - began


def series(metrics: str, name: str) -> str:
    (line,) = [line for line in metrics.splitlines() if re.match(rf"{name}[{{ ]", line)]
    return line


def alert_after(lost: str, tmp_path: Path) -> None:
    """Require that the alert fires within two minutes on the series that the worker serves."""
    labels, value = lost.rsplit(" ", 1)
    assert float(value) == 0
    rules = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": labels, "values": "1x4 0x20"}],
                "promql_expr_test": [
                    {
                        "expr": 'count(ALERTS{alertname="RetrofitNothingPromoted",'
                        'alertstate="firing"})',
                        "eval_time": "195s",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "outage.json"
    path.write_text(json.dumps(rules))
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_back_within_two_minutes_and_everybody_was_told(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path
) -> None:
    """With the default times."""
    harness.source("20260911")
    outage = Outage(harness, receiver, tmp_path)
    with outage.site.worker() as worker:
        ended = worker.wait_for("run-once ended")
        assert ended["outcomes"] == {"default": "published"}
        eventually(outage.is_calm, "a calm page", worker.log)
        # Until its first run had promoted one there was no image either, which may be told.
        eventually(lambda: "published" in outage.events(), "published", worker.log)
        receiver.taken.clear()
        image_id = outage.site.reports()[0]["image_id"]
        began = outage.hide(image_id)
        event = outage.seconds(began, lambda: "no_image" in outage.events(), "the event", 90)
        back = outage.seconds(began, lambda: harness.octavia(TAG) == image_id, "the image", 120)
        outage.seconds(began, lambda: "image_found" in outage.events(), "its return", 180)
        outage.seconds(began, outage.is_calm, "a calm page", 120)
    print(f"event {event:.0f} s, image back {back:.0f} s")
    report = outage.site.reports()[-1]
    assert (report["action"], report["outcome"]) == ("repair", "promoted"), report
    assert report["emergency"].startswith(f"image {image_id} is hidden, and not by retrofit")
    lost, found = (
        next(each for each in receiver.taken if each["event"] == event)
        for event in ("no_image", "image_found")
    )
    assert image_id in lost["summary"]
    assert found["image_id"] == image_id
    author = json.loads(harness.image(image_id)["retrofit_promoted_by"])
    assert author["run"] == report["run_id"]
    assert author["by"].endswith(f"@{socket.gethostname()}")
    assert author["action"] == "repair"


@pytest.mark.slow
def test_page_health_and_metrics_show_a_loss_that_cannot_be_repaired_within_a_minute(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path
) -> None:
    """The target is paused: all is reported, nothing is done."""
    image_id = harness.promoted("20260911")
    outage = Outage(harness, receiver, tmp_path)
    harness.retrofit("pause", "--reason", "maintenance")
    with outage.site.worker() as worker:
        worker.wait_for("run-once ended")
        eventually(lambda: "paused" in outage.get("/")[1], "the page", worker.log)
        began = outage.hide(image_id)
        health = outage.seconds(began, lambda: outage.get("/healthz")[0] == 503, "503", 60)
        page = outage.seconds(
            began, lambda: "no load balancer can start" in outage.get("/")[1], "the page", 60
        )
        event = outage.seconds(began, lambda: outage.events() == ["no_image"], "the event", 90)
        metrics = outage.get("/metrics")[1]
        assert outage.get("/livez")[0] == 200
        assert worker.process.poll() is None
    print(f"healthz {health:.0f} s, page {page:.0f} s, event {event:.0f} s")
    alert_after(series(metrics, "retrofit_image_promoted"), tmp_path)
    (lost,) = receiver.taken
    assert "paused" in lost["summary"]
    assert f"`retrofit promote {image_id}`" in lost["summary"]
    assert harness.octavia(TAG) is None
    assert not [each for each in outage.site.reports() if each["action"] == "repair"]


@pytest.mark.slow
def test_it_comes_back_while_a_run_builds_and_the_build_follows(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path
) -> None:
    harness.source("20260912")
    image_id = harness.promoted("20260911")
    outage = Outage(harness, receiver, tmp_path, watch_interval=5)
    outage.site.gate.touch()
    with outage.site.worker() as worker:
        eventually(lambda: outage.site.recorded() == ["begun"], "a build", worker.log)
        began = outage.hide(image_id)
        outage.seconds(began, lambda: harness.octavia(TAG) == image_id, "the image", 60)
        assert outage.site.recorded() == ["begun"]  # it builds on
        outage.site.gate.unlink()
        ended = worker.wait_for("run-once ended")
        assert ended["outcomes"] == {"default": "published"}
    assert harness.octavia(TAG) not in {None, image_id}


@pytest.mark.slow
def test_with_nothing_to_promote_the_target_runs_at_once(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path
) -> None:
    harness.source("20260911")
    outage = Outage(harness, receiver, tmp_path, watch_interval=5)
    with outage.site.worker() as worker:
        worker.wait_for("run-once ended")
        image_id = harness.octavia(TAG)
        harness.client.images.delete(image_id)
        # Nothing of ours is left at all: the run that follows by schedule is an hour away.
        harness.former("20260910", days=3, retrofit_rejected_at=days_ago(0).isoformat())
        worker.wait_for("run-once ended", count=2, outcomes={"default": "published"})
    assert harness.octavia(TAG) is not None
    eventually(lambda: "no_image" in outage.events(), "the event")


@pytest.mark.slow
def test_a_worker_whose_cloud_is_away_goes_on_looking(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path
) -> None:
    image_id = harness.promoted("20260911")
    harness.source("20260911")
    outage = Outage(harness, receiver, tmp_path, watch_interval=5)
    broken = {
        **harness.cloud,
        "clouds_yaml": str(tmp_path / "away.yaml"),
        "timeout": 2,
        "retries": 0,
    }
    away = Path(harness.site.clouds_yaml).read_text()
    Path(broken["clouds_yaml"]).write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", away))
    Path(broken["clouds_yaml"]).chmod(0o600)
    with outage.site.worker() as worker:
        worker.wait_for("run-once ended")
        outage.site.write(cloud=broken)
        worker.send(signal.SIGHUP)
        worker.wait_for("not looked at")
        outage.hide(image_id)
        outage.site.write()
        worker.send(signal.SIGHUP)
        eventually(lambda: harness.octavia(TAG) == image_id, "the image", worker.log)


@pytest.mark.slow
@pytest.mark.parametrize("service", ["keystone", "glance"])
def test_a_cloud_that_hangs_is_noticed_within_a_minute_and_asked_again(
    harness: CloudHarness, receiver: Receiver, tmp_path: Path, service: str
) -> None:
    """With the time limits of a run as they are by default: two minutes, five times."""
    image_id = harness.promoted("20260911")
    harness.source("20260911")
    outage = Outage(harness, receiver, tmp_path, watch_interval=5)
    outage.site.config["web"]["refresh"] = 5
    with outage.site.worker() as worker:
        worker.wait_for("run-once ended")
        eventually(outage.is_calm, "a calm page", worker.log)
        with hanging(harness.site.running, service):
            began = time.monotonic()
            page = outage.seconds(
                began, lambda: "does not answer" in outage.get("/")[1], "the page", 60
            )
            worker.wait_for("not looked at")
        began = outage.hide(image_id)
        event = outage.seconds(began, lambda: "no_image" in outage.events(), "the event", 60)
        back = outage.seconds(began, lambda: harness.octavia(TAG) == image_id, "the image", 60)
        outage.seconds(began, outage.is_calm, "a calm page", 60)
    print(f"page {page:.0f} s; when it answers again: event {event:.0f} s, image back {back:.0f} s")


def test_every_run_repairs_before_it_does_anything_else(harness: CloudHarness) -> None:
    """As where a timer runs retrofit, without a worker; there is not even a source."""
    harness.promoted("20260910", days=5, os_hidden=True)
    newer = harness.promoted("20260911", days=2, os_hidden=True)
    harness.former("20260912", days=1, retrofit_rejected_at=days_ago(0).isoformat())
    report = harness.retrofit("run-once", "-o", "json", exit_code=4).document
    assert harness.octavia(TAG) == newer
    assert report["promoted"] == [newer]
    assert report["emergency"]
    assert any("is rejected: only a person promotes it" in note for note in report["notes"])


def test_a_run_builds_at_once_where_the_only_image_has_lost_its_bytes(
    harness: CloudHarness,
) -> None:
    """It was built and verified, and its run died before it was promoted."""
    harness.source("20260911")
    harness.act("run-once")
    (lost,) = harness.tagged()
    unpromoted = dict.fromkeys(("retrofit_promoted_at", "retrofit_promoted_by"))
    harness.client.image_tags.delete(lost, TAG)
    harness.glance.update(lost, unpromoted)
    gone(stored(harness, lost))
    assert harness.read("plan")["action"] == "promote"
    report = harness.act("run-once")
    assert report["outcome"] == "published"
    assert report["image_id"] not in {None, lost}
    assert harness.tagged() == {report["image_id"]}


def test_a_repair_that_finds_bytes_gone_takes_the_next_older_image(harness: CloudHarness) -> None:
    older = harness.former("20260910", days=5)
    newer = harness.promoted("20260911", days=2, os_hidden=True)
    gone(stored(harness, newer))
    report = harness.act("repair")
    assert report["image_id"] == older
    assert any(newer in note for note in report["notes"])


def test_a_repair_changes_nothing_where_octavia_finds_an_image(harness: CloudHarness) -> None:
    promoted = harness.promoted("20260911")
    report = harness.read("repair")
    assert (report["outcome"], report["image_id"]) == ("unchanged", promoted)


def test_a_repair_without_any_image_names_the_command_and_fails(harness: CloudHarness) -> None:
    rejected = harness.former("20260912", days=1, retrofit_rejected_at=days_ago(0).isoformat())
    answer = harness.retrofit("repair", "-o", "json", exit_code=7)
    error = answer.document["error"]
    assert f"`retrofit promote {rejected}`" in error["message"]
    assert "run-once" in error["hint"]
    harness.act("promote", "--yes", rejected)


def test_a_repair_honours_a_pause(harness: CloudHarness) -> None:
    promoted = harness.promoted("20260911", os_hidden=True)
    harness.retrofit("pause", "--reason", "maintenance")
    report = harness.read("repair")
    assert report["outcome"] == "paused"
    assert any(f"`retrofit promote {promoted}`" in note for note in report["notes"])
    assert harness.octavia(TAG) is None
