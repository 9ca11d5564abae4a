"""A rollover where the cloud has no room for one more amphora, or does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia_api import Octavia
from tests.integration.fake_nova_neutron import GROUP, MANAGEMENT_SUBNET, SUBNET, NovaNeutron
from tests.integration.harness import CloudHarness
from tests.integration.rollover_site import RolloverSite, counted


@pytest.fixture(scope="module")
def nova_neutron(devcloud: Devcloud) -> Iterator[NovaNeutron]:
    fake = NovaNeutron()
    with fake.serving(devcloud.session(devcloud.admin_cloud), devcloud.keystone_url):
        yield fake


@pytest.fixture(scope="module")
def octavia(devcloud: Devcloud) -> Iterator[Octavia]:
    admin = devcloud.session(devcloud.admin_cloud)
    made = Octavia(cloud=devcloud.running, admin=admin, heartbeats=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def fake(nova_neutron: NovaNeutron) -> NovaNeutron:
    """With room for everything."""
    fresh = NovaNeutron(url=nova_neutron.url)
    for name, value in vars(fresh).items():
        setattr(nova_neutron, name, value)
    return nova_neutron


@pytest.fixture
def site(harness: CloudHarness, octavia: Octavia, fake: NovaNeutron) -> Iterator[RolloverSite]:
    octavia.clear()
    try:
        with counted(octavia) as front:
            made = RolloverSite(harness=harness, octavia=octavia, front=front)
            made.settings(check_capacity=True)
            made.promote("20260801", days=5)
            made.build(2, 0)
            yield made
    finally:
        octavia.unregister()


def behind(site: RolloverSite) -> str:
    return site.promote("20260911")


def preview_of(site: RolloverSite) -> Any:
    document = site.harness.read("rollover", "--dry-run")
    return document.get("targets", [document])[0]


def servers_of(site: RolloverSite, name: str) -> list[str]:
    """The servers in Nova that a load balancer's amphorae are."""
    url = f"{site.octavia.url}/v2/octavia/amphorae?loadbalancer_id={site.load_balancers[name]}"
    return [each["compute_id"] for each in site.octavia.admin.get(url).json()["amphorae"]]


def test_with_room_it_moves_and_asks_no_more_for_more_load_balancers(
    site: RolloverSite, fake: NovaNeutron
) -> None:
    fake.group = {"policy": "anti-affinity", "members": ["a", "b"]}
    newer = behind(site)
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    assert not [each for each in report["notes"] if "capacity" in each]
    assert site.images() == {"single-0": {newer}, "single-1": {newer}}
    assert len(fake.asked) == 2 * 9


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ({"servers": {"limit": 10, "in_use": 10}}, ["quota", "none left of 10 instances"]),
        ({"servers": {"limit": 10, "in_use": 9, "reserved": 1}}, ["none left of 10 instances"]),
        ({"ports": {"limit": 500, "used": 499}}, ["1 left of 500 port", "2 are needed"]),
        ({"free": {SUBNET: 0, MANAGEMENT_SUBNET: 9}}, [f"subnet {SUBNET}", "192.0.2.0/27"]),
        ({"free": {SUBNET: 9, MANAGEMENT_SUBNET: 0}}, [f"subnet {MANAGEMENT_SUBNET}"]),
        (
            {
                "group": {"policy": "anti-affinity", "members": ["a", "b"]},
                "hypervisors": [("up", "enabled"), ("up", "enabled"), ("down", "enabled")],
            },
            [GROUP, "has 2 servers, ", "2 hypervisors are up and enabled"],
        ),
        (
            {
                "group": {"policy": "anti-affinity", "members": ["a"]},
                "hypervisors": [("up", "enabled"), ("up", "disabled")],
            },
            ["has 1 server,", "1 hypervisor is up and enabled"],
        ),
        ({"statuses": {"/v2.1/servers": 503}}, ["Nova answers 503", "rollover.check_capacity"]),
        ({"statuses": {"/v2.0/ports": 500}}, ["Neutron answers 500"]),
    ],
    ids=lambda each: "" if isinstance(each, dict) else each[0],
)
def test_without_room_it_waits_and_says_for_what(
    site: RolloverSite, fake: NovaNeutron, lack: dict[str, object], words: list[str]
) -> None:
    newer = behind(site)
    for name, value in lack.items():
        setattr(fake, name, value)
    preview = preview_of(site)
    report = site.roll()
    assert report["outcome"] == "postponed"
    assert site.accepted().total() == 0
    for word in words:
        assert word in report["reasons"][-1]
        assert word in " ".join(preview["no_room"])
    # Once there is room, it goes on.
    fake.servers, fake.ports = {"limit": 20, "in_use": 3}, {"limit": -1, "used": 9}
    fake.free, fake.group, fake.statuses = {SUBNET: 9, MANAGEMENT_SUBNET: 9}, {}, {}
    assert site.roll()["outcome"] == "rolled_over"
    assert site.images() == {"single-0": {newer}, "single-1": {newer}}


def test_one_whose_subnet_is_full_keeps_no_other_back(
    site: RolloverSite, fake: NovaNeutron
) -> None:
    newer = behind(site)
    (first,) = servers_of(site, "single-0")
    fake.vip_subnets, fake.free = {first: "full"}, {**fake.free, "full": 0}
    report = site.roll()
    assert report["outcome"] == "postponed"
    assert "no room for single-0" in report["reasons"][-1]
    assert site.order() == ["single-1"]
    assert site.images()["single-1"] == {newer}


def test_two_at_a_time_where_there_is_room_for_one(site: RolloverSite, fake: NovaNeutron) -> None:
    site.settings(at_a_time=2, check_capacity=True)
    newer = behind(site)
    fake.servers = {"limit": 10, "in_use": 9}
    assert site.roll()["outcome"] == "rolled_over"
    assert site.images() == {"single-0": {newer}, "single-1": {newer}}


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({"/": 403}, ["Nova refuses GET /servers/", "Neutron refuses GET /ports"]),
        ({"/v2.1/os-quota-sets": 403}, ["Nova refuses GET /os-quota-sets/ID/detail"]),
        ({"/v2.0/network-ip": 404}, ["Neutron answers 404 to GET /network-ip-availabilities/"]),
        ({"/v2.1": 406}, ["Nova answers 406"]),
        ({"/v2.1": 200}, ["servers: the answer has another form"]),
    ],
)
def test_what_it_may_not_ask_is_said_and_no_obstacle(
    site: RolloverSite, fake: NovaNeutron, statuses: dict[str, int], words: list[str]
) -> None:
    newer = behind(site)
    fake.statuses = statuses
    preview = preview_of(site)
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    assert site.images() == {"single-0": {newer}, "single-1": {newer}}
    for word in words:
        assert [
            each
            for each in report["notes"]
            if each.startswith("capacity not known: ") and word in each
        ]
        assert word in " ".join(preview["capacity_unknown"])
    # Once, and not for each load balancer.
    notes = [each for each in report["notes"] if "capacity not known" in each]
    assert notes == [f"capacity not known: {each}" for each in preview["capacity_unknown"]]


def test_it_asks_only_where_it_is_told_to(site: RolloverSite, fake: NovaNeutron) -> None:
    site.settings()
    behind(site)
    fake.servers = {"limit": 1, "in_use": 1}
    assert site.roll()["outcome"] == "rolled_over"
    assert fake.asked == []
