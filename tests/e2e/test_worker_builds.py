"""Workers whose builds are real: from a serial in the mirror to an image, with nobody's help."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrofit.console import QUIET_SECONDS
from tests.devcloud import lock_servers
from tests.devcloud.mirror import Mirror
from tests.devcloud.sync import filters_for
from tests.e2e import leftovers
from tests.e2e.real_builds import real_builds
from tests.integration.worker_site import Site, eventually

SCHEDULER = Path(sys.executable).with_name("retrofit-scheduler")
BUILD_SECONDS = 2400
LEASE = 10
BUILD_LOG = "logs/*/build.log"

pytestmark = pytest.mark.slow


@pytest.fixture
def publish(
    clean_glance: Any, mirror: Callable[[], Mirror], stock_image: Callable[[str], Path]
) -> Callable[[str], None]:
    """Do what Ubuntu and the synchroniser do every week."""
    made = mirror()

    def publish(serial: str) -> None:
        made.publish(stock_image("noble"), series="noble", serial=serial, touch=True)
        clean_glance.sync(made, filters=filters_for(series=["noble"]))

    return publish


@pytest.fixture
def site(clean_glance: Any, tmp_path: Path) -> Callable[..., Site]:
    def make(name: str, **sections: dict[str, Any]) -> Site:
        root = tmp_path / name
        return Site(
            root=root,
            config=real_builds(clean_glance, root, **sections),
            builds=tmp_path / "builds",
            command=(SCHEDULER, "--config"),
            patience=BUILD_SECONDS,
        )

    return make


def nothing_left(site: Site) -> bool:
    return not [
        *leftovers.loop_devices(site.work),
        *leftovers.mounts(site.work),
        *leftovers.processes(site.work),
        *site.work.glob("*/*"),
    ]


def test_a_new_serial_becomes_the_promoted_amphora_with_no_other_action(
    site: Any, publish: Any, clean_glance: Any
) -> None:
    here = site("machine", schedule={"interval": 60})
    with here.worker() as worker:
        assert worker.wait_for("run-once ended")["exit_code"] == 4  # there is no source yet
        publish("20260911")
        ended = worker.wait_for("run-once ended", outcomes={"default": "published"})
        assert ended["exit_code"] == 0
        # The worker goes on, and finds nothing to do.
        worker.wait_for("run-once ended", outcomes={"default": "unchanged"})
        assert worker.end_by(signal.SIGTERM) == 0
    published = next(run for run in here.reports() if run["outcome"] == "published")
    assert clean_glance.octavia_answer() == published["image_id"]
    story = [event for event in worker.events() if event.get("run_id") == published["run_id"]]
    for event in story:
        print(event)
    # A dozen steps and what came of them, and a sign of life every half a minute.
    assert len([event for event in story if event["event"] != "in progress"]) <= 20
    seconds = next(event["seconds"] for event in story if event["event"] == "run ended")
    assert len(story) <= 20 + 1 + seconds / QUIET_SECONDS
    assert nothing_left(here)


def test_another_machine_takes_over_a_real_build_that_died(
    site: Any, publish: Any, clean_glance: Any, tmp_path: Path
) -> None:
    publish("20260911")
    (tmp_path / "redis").mkdir()
    with lock_servers.redis(tmp_path / "redis") as server:
        lock = {"url": server.url(), "lease": LEASE}
        one, two = site("one", lock=lock), site("two", lock=lock)
        with one.worker() as worker:
            # In the middle: the image is being filled, with mounts and loop devices around it.
            eventually(
                lambda: any("install.d" in log.read_text() for log in one.root.glob(BUILD_LOG)),
                "a build",
                worker.log,
                within=BUILD_SECONDS,
            )
            worker.power_off()
        with two.worker() as worker:
            ended = worker.wait_for("run-once ended")
            while ended["outcomes"] == {"default": "locked"}:
                before = len([e for e in worker.events() if e["event"] == "run-once ended"])
                worker.send(signal.SIGUSR1)
                ended = worker.wait_for("run-once ended", count=before + 1)
            assert ended["outcomes"] == {"default": "published"}
        with one.worker() as worker:
            assert worker.wait_for("run-once ended")["outcomes"] == {"default": "unchanged"}
    glance = clean_glance.glance()
    (image,) = glance.images.list(filters={"tag": ["octavia-amphora"]})
    assert clean_glance.octavia_answer() == image.id
    assert nothing_left(one)
    assert nothing_left(two)
