"""A rollover where the cloud has no room for one more amphora, or does not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrofit.cloud.capacity import HYPERVISORS
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.nova_neutron import NovaNeutron
from tests.devcloud.octavia_api import Octavia
from tests.integration.harness import CloudHarness
from tests.integration.rollover_site import RolloverSite, counted
from tests.integration.surroundings import (
    OUTSIDE,
    SECOND_SUBNET,
    SUBNET,
    Surroundings,
    surroundings,
    without_details,
)
from tests.integration.test_rollover_rights import OLD_DEFAULTS, octavia_with, with_role


@pytest.fixture(scope="module")
def nova_neutron(devcloud: Devcloud) -> Iterator[NovaNeutron]:
    made = NovaNeutron(cloud=devcloud.running, admin=devcloud.session(devcloud.admin_cloud))
    try:
        made.start()
        yield made
    finally:
        made.stop()


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
def around(nova_neutron: NovaNeutron, devcloud: Devcloud) -> Iterator[Surroundings]:
    owner = devcloud.session(devcloud.sync_cloud)
    with surroundings(nova_neutron, owner=owner, project=devcloud.project_id()) as made:
        yield made


@pytest.fixture
def site(harness: CloudHarness, octavia: Octavia) -> Iterator[RolloverSite]:
    octavia.clear()
    try:
        with counted(octavia) as front:
            made = RolloverSite(harness=harness, octavia=octavia, front=front)
            made.settings()
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


def all_moved(site: RolloverSite, newer: str) -> None:
    assert site.images() == {"single-0": {newer}, "single-1": {newer}}


@pytest.mark.slow
def test_with_room_it_moves_and_asks_no_more_for_more_load_balancers(
    site: RolloverSite, around: Surroundings
) -> None:
    around.place(site)
    around.group("two")
    newer = behind(site)
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    assert not [each for each in report["notes"] if "capacity" in each]
    all_moved(site, newer)
    assert len(around.asked) == 2 * 9


Lack = Callable[[Surroundings], None]


def without_instances(around: Surroundings) -> None:
    around.real.nova_quota(around.project, instances=2)


def without_cores(around: Surroundings) -> None:
    around.real.nova_quota(around.project, cores=2)


def one_port_short(around: Surroundings) -> None:
    used = around.real.get("neutron", f"/v2.0/quotas/{around.project}/details.json")
    around.real.neutron_quota(around.project, port=used["quota"]["port"]["used"] + 1)


def full_vip_subnets(around: Surroundings) -> None:
    for network in around.networks.values():
        around.fill(network)


def full_vip_subnets_before_2026_1(around: Surroundings) -> None:
    around.fronts["neutron"].rewrite = without_details
    full_vip_subnets(around)


def full_management_network(around: Surroundings) -> None:
    around.fill(around.management)


def no_other_hypervisor(around: Surroundings) -> None:
    around.group("two", "three")


def no_other_hypervisor_that_is_up(around: Surroundings) -> None:
    around.real.hypervisors({"host": "four", "up": False})
    around.real.hypervisors({"host": "five", "up": True, "enabled": False})
    around.group("two", "three")


def full_member_subnet(around: Surroundings) -> None:
    # Octavia asks for a member's subnet by its id, whatever else the network has.
    network, (subnet,) = around.real.network(SUBNET, project=around.project)
    around.real.subnet(network, SECOND_SUBNET, project=around.project)
    for server in around.servers.values():
        places = [{"subnet_id": subnet}]
        around.real.port(network, project=around.project, device_id=server, fixed_ips=places)
    around.fill(network, subnet)


def failing_nova(around: Surroundings) -> None:
    around.refuse("nova", {"/v2.1/servers": 503})


def failing_neutron(around: Surroundings) -> None:
    around.refuse("neutron", {"/v2.0/ports": 500})


def neutron_out_of_reach(around: Surroundings) -> None:
    around.real.unregister()
    around.real.register(nova=around.fronts["nova"].url, neutron="http://127.0.0.1:9")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("lack", "words"),
    [
        (without_instances, ["Nova's quota", "none left of 2 instances"]),
        (one_port_short, ["1 left of", "port, and 2 are needed"]),
        (full_vip_subnets, ["192.0.2.0/24", "none left of 6 addresses"]),
        (no_other_hypervisor_that_is_up, ["of 5 hypervisors 3 are up and enabled"]),
        (failing_nova, ["Nova answers 503", "rollover.check_capacity"]),
        (without_cores, ["none left of 2 cores, and 1 is needed"]),
        (full_vip_subnets_before_2026_1, ["192.0.2.0/24", "none left of 6 addresses"]),
        (full_management_network, ["192.0.2.0/24", "none left of 6 addresses"]),
        (no_other_hypervisor, ["of 3 hypervisors 3 are up and enabled, each with a server"]),
        (full_member_subnet, ["192.0.2.0/24", "none left of 6 addresses"]),
        (failing_neutron, ["Neutron answers 500"]),
        (neutron_out_of_reach, ["Neutron cannot be asked: 127.0.0.1:9: Connection refused"]),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_without_room_it_waits_and_says_for_what(
    site: RolloverSite, around: Surroundings, lack: Lack, words: list[str]
) -> None:
    around.place(site)
    behind(site)
    lack(around)
    preview = preview_of(site)
    report = site.roll()
    assert report["outcome"] == "postponed"
    assert site.accepted().total() == 0
    for word in words:
        assert word in report["reasons"][-1]
        assert word in " ".join(preview["no_room"])
    assert preview["capacity_unknown"] == []


def test_once_there_is_room_it_goes_on(site: RolloverSite, around: Surroundings) -> None:
    around.place(site)
    newer = behind(site)
    without_instances(around)
    assert site.roll()["outcome"] == "postponed"
    around.real.nova_quota(around.project, instances=3)
    assert site.roll()["outcome"] == "rolled_over"
    all_moved(site, newer)


def a_second_management_subnet(around: Surroundings) -> None:
    around.fill(around.management)
    around.real.subnet(around.management, SECOND_SUBNET, project=around.project)


def used_outside_of_the_pools(around: Surroundings) -> None:
    for name, network in around.networks.items():
        for address in OUTSIDE:
            place = {"subnet_id": around.subnets[name], "ip_address": address}
            around.real.port(network, project=around.project, fixed_ips=[place])


def used_outside_of_the_pools_before_2026_1(around: Surroundings) -> None:
    around.fronts["neutron"].rewrite = without_details
    used_outside_of_the_pools(around)


def addresses_that_come_of_macs(around: Surroundings) -> None:
    slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "allocation_pools": []}
    around.real.subnet(
        around.management,
        {"ip_version": 6, "cidr": "2001:db8:e::/64", **slaac},
        project=around.project,
    )
    for server in around.servers.values():
        around.real.port(around.management, project=around.project, device_id=server)


def a_hypervisor_on_the_second_page(around: Surroundings) -> None:
    dead = ({"host": f"dead-{number}", "up": False} for number in range(HYPERVISORS - 3))
    around.real.hypervisors(*dead, {"host": "last", "up": True})
    around.group("two", "three")


def a_member_of_the_group_on_a_dead_hypervisor(around: Surroundings) -> None:
    around.real.hypervisors({"host": "four", "up": False})
    around.group("four", "two")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "plenty",
    [
        used_outside_of_the_pools,
        a_member_of_the_group_on_a_dead_hypervisor,
        a_second_management_subnet,
        a_hypervisor_on_the_second_page,
        used_outside_of_the_pools_before_2026_1,
        addresses_that_come_of_macs,
    ],
)
def test_what_looks_like_no_room_and_is(
    site: RolloverSite, around: Surroundings, plenty: Lack
) -> None:
    around.place(site)
    newer = behind(site)
    plenty(around)
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    assert not [each for each in report["notes"] if "capacity" in each]
    all_moved(site, newer)


@pytest.mark.slow
def test_a_limit_of_nothing_with_something_in_use_says_nothing(
    site: RolloverSite, around: Surroundings
) -> None:
    # What Nova shows for all names that Keystone has no limit of.
    around.place(site)
    newer = behind(site)
    around.real.nova_quota(around.project, cores=0, ram=0)
    assert "shows a limit of 0 cores" in " ".join(all_said(site))
    all_moved(site, newer)


@pytest.mark.slow
def test_a_cell_that_does_not_answer_says_nothing(site: RolloverSite, around: Surroundings) -> None:
    around.place(site)
    around.group("two", "three")
    newer = behind(site)
    around.real.lose(*around.servers.values())
    # Of the server Nova shows what its own database has, and of its group nothing.
    (note,) = all_said(site)
    assert note.endswith("Nova answers 500 to GET /os-server-groups/ID")
    all_moved(site, newer)


@pytest.mark.slow
def test_one_whose_subnet_is_full_keeps_no_other_back(
    site: RolloverSite, around: Surroundings
) -> None:
    around.place(site)
    newer = behind(site)
    around.fill(around.networks["single-0"])
    report = site.roll()
    assert report["outcome"] == "postponed"
    assert "no room for single-0" in report["reasons"][-1]
    assert site.order() == ["single-1"]
    assert site.images()["single-1"] == {newer}


@pytest.mark.slow
def test_a_large_amphora_keeps_no_small_one_back(site: RolloverSite, around: Surroundings) -> None:
    around.place(site, vcpus={"single-0": 4})
    newer = behind(site)
    around.real.nova_quota(around.project, cores=7)
    report = site.roll()
    assert "no room for single-0 (" in report["reasons"][-1]
    assert "2 left of 7 cores, and 4 are needed" in report["reasons"][-1]
    assert site.images()["single-1"] == {newer}


@pytest.mark.slow
def test_two_at_a_time_where_there_is_room_for_one(
    site: RolloverSite, around: Surroundings
) -> None:
    site.settings(at_a_time=2)
    around.place(site)
    newer = behind(site)
    around.real.nova_quota(around.project, instances=3)
    assert site.roll()["outcome"] == "rolled_over"
    all_moved(site, newer)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (
            {"nova": {"/": 403}, "neutron": {"/": 403}},
            ["Nova refuses GET /servers/", "Neutron refuses GET /ports"],
        ),
        ({"nova": {"/v2.1/os-quota-sets": 403}}, ["Nova refuses GET /os-quota-sets/ID/detail"]),
        (
            {"neutron": {"/v2.0/network-ip": 404}},
            ["Neutron answers 404 to GET /network-ip-availabilities/"],
        ),
        ({"nova": {"/v2.1": 406}}, ["Nova answers 406"]),
        ({"nova": {"/v2.1": 200}}, ["servers: the answer has another form"]),
        ({"nova": {"/v2.1/servers": 404}}, ["Nova shows none of the servers"]),
        ({"nova": {"/v2.1/os-quota-sets": 500}}, ["Nova answers 500 to GET /os-quota-sets"]),
    ],
)
def test_what_it_may_not_ask_is_said_and_no_obstacle(
    site: RolloverSite,
    around: Surroundings,
    statuses: dict[str, dict[str, int]],
    words: list[str],
) -> None:
    around.place(site)
    newer = behind(site)
    for service, paths in statuses.items():
        around.refuse(service, paths)
    said = all_said(site)
    all_moved(site, newer)
    for word in words:
        assert [each for each in said if word in each]


def all_said(site: RolloverSite) -> list[str]:
    """Roll over all, and return what was said to be unknown: once, as the preview has it."""
    preview = preview_of(site)
    assert preview["no_room"] == []
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    notes = [each for each in report["notes"] if "capacity not known" in each]
    assert notes == [f"capacity not known: {each}" for each in preview["capacity_unknown"]]
    return notes


@pytest.mark.slow
@pytest.mark.parametrize("project", ["services", "tenant"])
def test_a_user_who_is_no_administrator_is_told_what_nobody_knows(
    devcloud: Devcloud, harness: CloudHarness, nova_neutron: NovaNeutron, project: str
) -> None:
    # In its own project it is shown servers and ports, of the amphorae's in another one nothing.
    owner = devcloud.session(
        devcloud.sync_cloud if project == "services" else devcloud.tenant_cloud
    )
    amphorae_in = devcloud.project_id(project)
    with (
        surroundings(nova_neutron, owner=owner, project=amphorae_in) as around,
        with_role(devcloud, "load-balancer_admin"),
        octavia_with(devcloud, harness, OLD_DEFAULTS) as site,
    ):
        site.promote("20260801", days=5)
        site.build(1, 0)
        around.place(site)
        around.group("two", "three")
        full_vip_subnets(around)
        newer = site.promote("20260911")
        said = " ".join(all_said(site))
        assert site.images() == {"single-0": {newer}}
    assert "Neutron answers 404 to GET /network-ip-availabilities/ID" in said
    if project == "services":
        assert "Nova does not show which hypervisor a server is on" in said
    else:
        assert "Nova shows none of the servers of the amphorae" in said
        assert "Neutron shows no ports of the amphorae" in said


@pytest.mark.slow
def test_without_the_two_in_the_catalog_it_says_so_and_goes_on(site: RolloverSite) -> None:
    newer = behind(site)
    said = all_said(site)
    assert len(said) == 2
    assert all("is not in the catalog" in each for each in said)
    all_moved(site, newer)


@pytest.mark.slow
def test_it_asks_only_where_it_is_told_to(site: RolloverSite, around: Surroundings) -> None:
    site.settings(check_capacity=False)
    around.place(site)
    newer = behind(site)
    without_instances(around)
    assert site.roll()["outcome"] == "rolled_over"
    all_moved(site, newer)
    assert around.asked == []
