"""`retrofit audit` against a real Octavia, and that its failovers do what it says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.devcloud.octavia_api import Octavia

RETROFIT = Path(sys.executable).with_name("retrofit")
TAG = "octavia-amphora"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def retrofit(devcloud: Any, tmp_path: Path) -> Run:
    """Run the command line as the member of project services, Octavia asked as an administrator."""

    def run(*words: str, octavia: str | None = None) -> subprocess.CompletedProcess[str]:
        asking = f'cloud = "{devcloud.admin_cloud}"' if octavia is None else octavia
        paths = [f'{key} = "{tmp_path / key}"' for key in ("state", "cache", "work", "logs")]
        config = tmp_path / "retrofit.toml"
        config.write_text(
            "\n".join(
                [
                    "[cloud]",
                    f'name = "{devcloud.cloud}"',
                    f'clouds_yaml = "{devcloud.clouds_yaml}"',
                    "[octavia]",
                    asking,
                    "[publish]",
                    "keep = 1",
                    "retire_after = 0",
                    "[paths]",
                    *paths,
                ]
            )
        )
        finished = subprocess.run(
            [RETROFIT, "--config", config, *words],
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in finished.stderr
        return finished

    return run


@pytest.fixture
def audit(retrofit: Run) -> Callable[[], dict[str, Any]]:
    def told() -> dict[str, Any]:
        finished = retrofit("audit", "--output", "json")
        assert finished.returncode == 0, finished.stderr
        document: dict[str, Any] = json.loads(finished.stdout)
        return document

    return told


@pytest.fixture
def made(devcloud: Any, tiny_image: Callable[..., Path]) -> Callable[..., str]:
    """Make an amphora image that counts as one of ours, built and verified.

    Each is younger than the one before, also for Glance, which counts in seconds.
    """
    before = 0

    def plant(name: str, **properties: Any) -> str:
        nonlocal before
        while int(time.time()) <= before:
            time.sleep(0.05)
        file = tiny_image(f"{name}.qcow2")
        digest = hashlib.sha512(file.read_bytes()).hexdigest()
        image = devcloud.plant(
            file,
            name=name,
            retrofit_target="default",
            retrofit_image_hash=f"sha512:{digest}",
            **properties,
        )
        before = int(time.time())
        return str(image)

    return plant


def amphora(load_balancer: str | None, image: str | None, **fields: Any) -> dict[str, Any]:
    row = {"load_balancer_id": load_balancer, "image_id": image}
    return {"id": str(uuid.uuid4()), **row, **fields}


def test_lists_what_runs_on_what_and_what_to_fail_over(
    running_octavia: Octavia, retrofit: Run, audit: Callable[..., Any], made: Callable[..., str]
) -> None:
    old = made("old")
    promoted = made("new", tags=[TAG], retrofit_promoted_at="2026-11-01T00:00:00+00:00")
    gone = str(uuid.uuid4())
    states = {
        "fine": "ACTIVE",
        "single": "ACTIVE",
        "gone": "ACTIVE",
        "pair": "ACTIVE",
        "ill": "ERROR",
        "busy": "PENDING_UPDATE",
    }
    ids = {name: str(uuid.uuid4()) for name in states}
    orphan = amphora(None, old, status="ERROR", role=None)
    running_octavia.add(
        load_balancers=[
            {"id": ids[name], "name": name, "provisioning_status": status}
            for name, status in states.items()
        ],
        amphorae=[
            amphora(ids["fine"], promoted),
            amphora(ids["single"], old, created_at="2026-10-01T00:00:00"),
            amphora(ids["gone"], gone, created_at="2026-09-01T00:00:00"),
            amphora(ids["pair"], promoted, role="MASTER"),
            amphora(ids["pair"], old, role="BACKUP"),  # since the promotion, says its date
            amphora(ids["ill"], old, created_at="2026-10-01T00:00:00"),
            amphora(ids["busy"], old, created_at="2026-10-01T00:00:00"),
            orphan,
        ],
    )
    told = audit()
    assert told["promoted"] == told["octavia_takes"]["image_id"] == promoted
    assert [each["name"] for each in told["failover"]] == ["pair", "gone", "single", "ill", "busy"]
    assert [(each["id"], each["amphorae"], each["load_balancers"]) for each in told["images"]] == [
        (promoted, 2, 2),
        (old, 5, 4),
        (gone, 1, 1),
    ]
    assert [each["id"] for each in told["without_load_balancer"]] == [orphan["id"]]
    (warning,) = [each for each in told["warnings"] if "started on image" in each]
    assert old in warning

    table = retrofit("audit").stdout.splitlines()
    commands = [line for line in table if "openstack loadbalancer failover" in line]
    assert commands == [
        *(f"openstack loadbalancer failover {ids[name]}" for name in ("pair", "gone", "single")),
        f"openstack loadbalancer failover {ids['ill']}",
        f"# openstack loadbalancer failover {ids['busy']}",
    ]
    # What Octavia answers to these commands is what the audit says of them.
    answers = [
        running_octavia.admin.put(
            f"{running_octavia.url}/v2/lbaas/loadbalancers/{ids[name]}/failover", raise_exc=False
        ).status_code
        for name in ("ill", "busy")
    ]
    assert answers == [202, 409]
    refused = running_octavia.admin.put(
        f"{running_octavia.url}/v2/octavia/amphorae/{orphan['id']}/failover", raise_exc=False
    )
    assert refused.status_code == 500


def test_shows_what_glance_knows_where_octavia_does_not_tell(
    running_octavia: Octavia, retrofit: Run, made: Callable[..., str]
) -> None:
    promoted = made("new", tags=[TAG])
    shown = retrofit("audit", "--output", "yaml", octavia='ask = "auto"')
    assert shown.returncode == 0
    assert "Octavia does not answer these credentials" in shown.stdout
    required = retrofit("audit", octavia='ask = "require"')
    assert required.returncode == 3
    assert "error: cannot list amphorae" in required.stderr
    assert "hint: " in required.stderr
    for finished in (shown, required):
        assert promoted in finished.stdout


def test_a_failover_moves_to_the_promoted_image_and_after_a_rollback_to_the_older_one(
    running_octavia: Octavia, retrofit: Run, audit: Callable[..., Any], made: Callable[..., str]
) -> None:
    older = made("older")
    assert retrofit("promote", older, "--yes").returncode == 0
    pair = running_octavia.create_flavor("pairs", '{"loadbalancer_topology": "ACTIVE_STANDBY"}')
    single = running_octavia.create_load_balancer("single")
    double = running_octavia.create_load_balancer("double", flavor_id=pair)
    assert running_octavia.images_of(single) == [older]
    assert running_octavia.images_of(double) == [older, older]
    assert audit()["failover"] == []

    newer = made("newer")
    assert retrofit("promote", newer, "--yes").returncode == 0
    told = audit()
    assert [(each["id"], each["failover"]) for each in told["failover"]] == [
        (double, "free"),
        (single, "outage"),
    ]
    for each in told["failover"]:
        running_octavia.failover(each["id"])
    assert running_octavia.images_of(single) == [newer]
    assert running_octavia.images_of(double) == [newer, newer]
    assert audit()["failover"] == []

    went_back = retrofit("rollback", "--yes")
    assert went_back.returncode == 0, went_back.stderr
    assert [each["id"] for each in audit()["failover"]] == [double, single]
    running_octavia.failover(single)
    assert running_octavia.images_of(single) == [older]


def test_an_image_that_only_a_later_page_shows_is_not_retired(
    running_octavia: Octavia, retrofit: Run, devcloud: Any, made: Callable[..., str]
) -> None:
    marks = {"retrofit_promoted_at": "2026-11-01T00:00:00+00:00"}
    used = made("used", **marks, retrofit_demoted_at="2026-11-02T00:00:00+00:00")
    unused = made("unused", **marks, retrofit_demoted_at="2026-11-02T00:00:00+00:00")
    promoted = made("promoted", tags=[TAG], **marks)
    others = [
        amphora(None, promoted, created_at="2026-01-01T00:00:00", status="ALLOCATED")
        for _ in range(1200)
    ]
    last = amphora(None, used, created_at="2026-01-02T00:00:00")
    running_octavia.add(amphorae=[*others, last])
    retired = retrofit("retire", "--yes", "--output", "json")
    assert retired.returncode == 0, retired.stderr
    assert json.loads(retired.stdout)["retired"] == [unused]
    assert {image["id"] for image in devcloud.images()} == {used, promoted}

    running_octavia.mark_deleted([last["id"]])
    assert json.loads(retrofit("retire", "--yes", "--output", "json").stdout)["retired"] == [used]
