"""`retrofit audit` against a real Octavia, and that its failovers do what it says."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.devcloud.octavia_api import Octavia
from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

ASKING = '[octavia]\ncloud = "demo-admin"\n'
"""Octavia answers administrators; retrofit's own user is none."""


@pytest.fixture
def asking(harness: CloudHarness, running_octavia: Octavia) -> CloudHarness:
    harness.toml = RETENTION_AT_ONCE + ASKING
    return harness


def amphora(load_balancer: str | None, image: str | None, **fields: Any) -> dict[str, Any]:
    row = {"load_balancer_id": load_balancer, "image_id": image}
    return {"id": str(uuid.uuid4()), "created_at": "2026-01-01T00:00:00", **row, **fields}


def failovers(harness: CloudHarness) -> list[str]:
    return [each["id"] for each in harness.read("audit")["failover"]]


def test_lists_what_runs_on_what_and_what_to_fail_over(
    asking: CloudHarness, running_octavia: Octavia
) -> None:
    promoted = asking.promoted("20260911", days=10)
    old = asking.former("20260801", days=40)
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
            amphora(ids["single"], old),
            amphora(ids["gone"], gone),
            amphora(ids["pair"], promoted, role="MASTER"),
            amphora(ids["pair"], old, role="BACKUP", created_at=None),  # now, so says Octavia
            amphora(ids["ill"], old),
            amphora(ids["busy"], old),
            orphan,
        ],
    )
    told = asking.read("audit")
    assert told["promoted"] == told["octavia_image"]["image_id"] == asking.octavia() == promoted
    assert [each["name"] for each in told["failover"]] == ["pair", "gone", "single", "ill", "busy"]
    assert [(each["id"], each["amphorae"], each["load_balancers"]) for each in told["images"]] == [
        (promoted, 2, 2),
        (old, 5, 4),
        (gone, 1, 1),
    ]
    assert [each["age_days"] for each in told["images"]] == [
        pytest.approx(10.0, abs=0.01),
        pytest.approx(40.0, abs=0.01),
        None,
    ]
    assert [each["id"] for each in told["without_load_balancer"]] == [orphan["id"]]
    (warning,) = told["warnings"]
    assert f"started on image {old}" in warning

    table = asking.retrofit("audit").stdout.splitlines()
    assert [line for line in table if "openstack loadbalancer failover" in line] == [
        *(
            f"openstack loadbalancer failover {ids[name]}"
            for name in ("pair", "gone", "single", "ill")
        ),
        f"# openstack loadbalancer failover {ids['busy']}",
    ]
    # What Octavia answers is what the audit says of it.
    answers = [
        running_octavia.admin.put(
            f"{running_octavia.url}/v2/{path}/failover", raise_exc=False
        ).status_code
        for path in (
            f"lbaas/loadbalancers/{ids['ill']}",
            f"lbaas/loadbalancers/{ids['busy']}",
            f"octavia/amphorae/{orphan['id']}",
        )
    ]
    assert answers == [202, 409, 500]
    running_octavia.settled(ids["ill"])  # or its controller would go on into the next test


def test_shows_what_glance_knows_where_octavia_does_not_tell(
    harness: CloudHarness, running_octavia: Octavia
) -> None:
    promoted = harness.promoted("20260911")
    told = harness.read("audit")
    assert told["octavia"]["reason"] == "Octavia refuses these credentials"
    assert (told["promoted"], told["failover"]) == (promoted, None)
    harness.toml = '[octavia]\nquery = "require"\n'
    required = harness.retrofit("audit", exit_code=3)
    assert promoted in required.stdout
    assert "error: cannot list amphorae: Octavia refuses" in required.stderr
    assert "octavia.cloud" in required.stderr


def test_a_failover_moves_to_the_promoted_image_and_after_a_rollback_to_the_older_one(
    asking: CloudHarness, running_octavia: Octavia
) -> None:
    older = asking.promoted("20260801", days=2)
    pair = running_octavia.create_flavor("pairs", '{"loadbalancer_topology": "ACTIVE_STANDBY"}')
    single = running_octavia.create_load_balancer("single")
    double = running_octavia.create_load_balancer("double", flavor_id=pair)
    assert running_octavia.images_of(single) == [older]
    assert running_octavia.images_of(double) == [older, older]
    assert failovers(asking) == []

    newer = asking.amphora("20260911", days=1)
    asking.act("promote", newer, "--yes")
    to_do = failovers(asking)
    assert to_do == [double, single]
    for load_balancer in to_do:
        running_octavia.failover(load_balancer)
    assert running_octavia.images_of(single) == [newer]
    assert running_octavia.images_of(double) == [newer, newer]
    assert failovers(asking) == []

    asking.act("rollback", "--yes")
    assert failovers(asking) == [double, single]
    running_octavia.failover(single)
    assert running_octavia.images_of(single) == [older]
    assert failovers(asking) == [double]


def test_two_targets_of_one_cloud_each_move_their_own(
    asking: CloudHarness, running_octavia: Octavia
) -> None:
    asking.toml = f'{ASKING}[target.default]\n[target.second.publish]\ntag = "second"\n'
    mine, other = asking.promoted("20260911", days=1), asking.former("20260801", days=3)
    theirs = asking.promoted("20260911", days=1, retrofit_target="second", tags=["second"])
    ids = [str(uuid.uuid4()) for _ in range(3)]
    running_octavia.add(
        load_balancers=[{"id": each, "name": each} for each in ids],
        amphorae=[
            amphora(load_balancer, image)
            for load_balancer, image in zip(ids, (mine, other, theirs), strict=True)
        ],
    )
    first, second = asking.read("audit")["targets"]
    assert [each["id"] for each in first["failover"]] == [ids[1]]
    assert first["other_targets"] == [{"target": "second", "amphorae": 1, "load_balancers": 1}]
    assert second["failover"] == []
    assert second["promoted"] == theirs


def test_an_image_that_only_a_later_page_shows_is_not_retired(
    asking: CloudHarness, running_octavia: Octavia
) -> None:
    asking.toml = f"{RETENTION_AT_ONCE}keep = 1\n{ASKING}"
    used, unused = asking.former("20260701", days=30), asking.former("20260801", days=20)
    promoted = asking.promoted("20260911", days=10)
    last = amphora(None, used, created_at="2026-01-02T00:00:00")
    running_octavia.add(amphorae=[*(amphora(None, promoted) for _ in range(1200)), last])
    assert asking.act("retire", "--yes")["retired"] == [unused]
    assert set(asking.everything()) == {used, promoted}
    assert asking.tagged(TAG) == {promoted}
    running_octavia.mark_deleted([last["id"]])
    assert asking.act("retire", "--yes")["retired"] == [used]
