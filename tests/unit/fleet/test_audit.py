"""What runs on what, in which order to move it, and whether Octavia looks for our image."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.audit import audit
from retrofit.config import OctaviaSettings, PublishSettings, Target
from retrofit.fleet import Census, Failover, stale_load_balancers
from retrofit.model import Amphora, Fleet, Image, LoadBalancer, Usage
from retrofit.octavia_conf import contradictions, mismatches, parse, strays
from retrofit.plan import Inventory
from retrofit.render.audit import show_audits
from tests.unit.images import NOW, OWN
from tests.unit.images import amphora as amphora_image

TARGET = Target()
PROMOTED = amphora_image(9, tagged=True)
OLD = amphora_image(5)
OLDER = amphora_image(1)
CONF = Path("/etc/octavia/octavia.conf")


def runs_on(
    image: Image | str | None,
    load_balancer: str | None = None,
    *,
    role: str | None = "STANDALONE",
    status: str = "ALLOCATED",
    created_at: datetime = NOW - timedelta(days=100),
    number: int = 1,
) -> Amphora:
    return Amphora(
        id=f"amphora-of-{load_balancer}-{role}-{number}",
        status=status,
        created_at=created_at,
        image_id=image.id if isinstance(image, Image) else image,
        load_balancer_id=load_balancer,
        role=role,
    )


def serves(name: str, status: str = "ACTIVE") -> LoadBalancer:
    return LoadBalancer(
        id=f"id-of-{name}",
        name=name,
        project_id="project",
        vip_address="192.0.2.1",
        provisioning_status=status,
        operating_status="ONLINE",
    )


def census_of(
    *amphorae: Amphora,
    load_balancers: tuple[LoadBalancer, ...] = (),
    images: tuple[Image, ...] = (PROMOTED, OLD, OLDER),
    unknown: str | None = None,
    **fields: Any,
) -> Census:
    named = {each.load_balancer_id for each in amphorae if each.load_balancer_id}
    listed = load_balancers or tuple(serves(each.removeprefix("id-of-")) for each in sorted(named))
    return Census(
        where="cloud",
        inventory=Inventory(images=images, own_project=OWN, now=NOW),
        fleet=Fleet(
            usage=Usage(amphorae=amphorae, unknown=unknown),
            load_balancers=listed,
            image_tags=fields.pop("image_tags", {}),
        ),
        images={image.id: image for image in images},
        **fields,
    )


def document(census: Census, *, configured: tuple[Target, ...] = (TARGET,)) -> dict[str, Any]:
    return audit(TARGET, census, configured=configured)


def names(census: Census) -> list[str]:
    return [each.load_balancer.name for each in stale_load_balancers(census, PROMOTED)]


def test_fails_over_first_what_has_no_outage_and_last_what_octavia_refuses() -> None:
    census = census_of(
        runs_on(OLDER, "id-of-pending"),
        runs_on(OLDER, "id-of-error"),
        runs_on(OLDER, "id-of-single"),
        runs_on(OLD, "id-of-pair", role="MASTER"),
        runs_on(OLD, "id-of-pair", role="BACKUP"),
        load_balancers=(
            serves("pending", "PENDING_UPDATE"),
            serves("error", "ERROR"),
            serves("single"),
            serves("pair"),
        ),
    )
    assert names(census) == ["pair", "single", "error", "pending"]
    remarks = [each["remark"] for each in document(census)["failover"]]
    assert [remark.split(":")[0].split(" of ")[0] for remark in remarks] == [
        "no outage",
        "outage during failover",
        "in ERROR",
        "not now",
    ]
    assert "409" in remarks[-1]


def test_fails_over_the_oldest_image_first_then_by_name() -> None:
    census = census_of(
        runs_on(OLD, "id-of-b"),
        runs_on(OLD, "id-of-a"),
        runs_on(OLDER, "id-of-d"),
        runs_on("gone from Glance", "id-of-e"),
        runs_on(PROMOTED, "id-of-fine"),
    )
    assert names(census) == ["e", "d", "a", "b"]
    ages = [each["oldest_image_age_days"] for each in document(census)["failover"]]
    assert ages == [None, 41.6, 41.5, 41.5]


def test_orders_load_balancers_of_one_name_by_their_id() -> None:
    census = census_of(
        replace(runs_on(OLD, "id-of-b"), id="first"),
        replace(runs_on(OLD, "id-of-a"), id="second"),
        load_balancers=(replace(serves("b"), name="web"), replace(serves("a"), name="web")),
    )
    stale = stale_load_balancers(census, PROMOTED)
    assert [each.load_balancer.id for each in stale] == ["id-of-a", "id-of-b"]


def test_a_pair_of_which_one_is_ill_has_an_outage() -> None:
    census = census_of(
        runs_on(OLD, "id-of-half", role="MASTER"),
        runs_on(OLD, "id-of-half", role="BACKUP", status="ERROR"),
    )
    (stale,) = stale_load_balancers(census, PROMOTED)
    assert stale.failover is Failover.OUTAGE
    assert "only one of its two" in stale.remark


def test_a_pair_that_is_moved_by_half_is_still_to_be_moved() -> None:
    census = census_of(
        runs_on(PROMOTED, "id-of-half", role="MASTER"),
        runs_on(OLD, "id-of-half", role="BACKUP"),
    )
    assert names(census) == ["half"]


def test_leaves_out_what_is_still_being_started() -> None:
    census = census_of(runs_on(None, "id-of-new", status="BOOTING", role=None))
    assert names(census) == []
    assert document(census)["octavia"]["booting"] == 1


def test_leaves_out_a_load_balancer_that_was_deleted_meanwhile() -> None:
    census = census_of(runs_on(OLD, "id-of-gone"), load_balancers=(serves("other"),))
    assert names(census) == []


def test_counts_apart_what_runs_on_the_image_of_another_target() -> None:
    jammy = amphora_image(8, target="jammy", tagged=True)
    census = census_of(
        runs_on(jammy, "id-of-theirs"),
        runs_on(OLD, "id-of-ours"),
        images=(PROMOTED, OLD, jammy),
    )
    both = (TARGET, Target(name="jammy"))
    told = document(census, configured=both)
    assert [each["name"] for each in told["failover"]] == ["ours"]
    assert told["other_targets"] == [{"target": "jammy", "amphorae": 1, "load_balancers": 1}]
    assert jammy.id in {image["id"] for image in told["images"]}  # it carries our tag
    # Where the configuration has no such target any more, somebody has to move it.
    assert [each["name"] for each in document(census)["failover"]] == ["ours", "theirs"]


def test_a_foreign_project_cannot_pass_its_image_off_as_another_target_s() -> None:
    fake = amphora_image(8, target="jammy", owner="tenant")
    census = census_of(runs_on(fake, "id-of-theirs"), images=(PROMOTED, fake))
    told = document(census, configured=(TARGET, Target(name="jammy")))
    assert [each["name"] for each in told["failover"]] == ["theirs"]


amphorae_lists = st.lists(
    st.builds(
        lambda image, number, role, status, serial: Amphora(
            id=f"amphora-{serial}",
            status=status,
            created_at=NOW - timedelta(days=number + 1),
            image_id=image,
            load_balancer_id=None if number == 0 else f"id-{number}",
            role=role,
        ),
        st.sampled_from([None, PROMOTED.id, OLD.id, OLDER.id, "unknown"]),
        st.integers(0, 6),
        st.sampled_from(["MASTER", "BACKUP", "STANDALONE", None]),
        st.sampled_from(["ALLOCATED", "ERROR", "BOOTING"]),
        st.integers(0, 10_000),
    ),
    max_size=25,
    unique_by=lambda each: each.id,
)
load_balancer_lists = st.lists(
    st.builds(
        lambda number, name, status: LoadBalancer(
            id=f"id-{number}",
            name=name,
            project_id="project",
            vip_address=None,
            provisioning_status=status,
            operating_status="ONLINE",
        ),
        st.integers(1, 6),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["ACTIVE", "ERROR", "PENDING_UPDATE", "PENDING_DELETE"]),
    ),
    max_size=6,
    unique_by=lambda each: each.id,
)


@given(amphorae_lists, load_balancer_lists, st.randoms())
def test_the_order_of_the_answers_never_changes_the_audit(
    amphorae: list[Amphora], load_balancers: list[LoadBalancer], chance: Any
) -> None:
    def told(those: list[Amphora], balancers: list[LoadBalancer], images: list[Image]) -> Any:
        return document(
            Census(
                where="cloud",
                inventory=Inventory(images=tuple(images), own_project=OWN, now=NOW),
                fleet=Fleet(usage=Usage(amphorae=tuple(those)), load_balancers=tuple(balancers)),
                images={image.id: image for image in images},
            )
        )

    images = [PROMOTED, OLD, OLDER]
    expected = told(amphorae, load_balancers, images)
    for answer in (amphorae, load_balancers, images):
        chance.shuffle(answer)
    assert told(amphorae, load_balancers, images) == expected


@given(amphorae_lists, load_balancer_lists)
def test_every_load_balancer_on_another_image_is_listed_once_and_the_cheap_before_the_dear(
    amphorae: list[Amphora], load_balancers: list[LoadBalancer]
) -> None:
    census = census_of(*amphorae, load_balancers=tuple(load_balancers))
    if not load_balancers:
        return
    stale = stale_load_balancers(census, PROMOTED)
    on_others = {
        each.load_balancer_id for each in amphorae if each.image_id not in {None, PROMOTED.id}
    }
    listed = [each.load_balancer.id for each in stale]
    assert sorted(listed) == sorted(on_others & {each.id for each in load_balancers})
    order = [
        (each.failover, each.oldest, each.load_balancer.name, each.load_balancer.id)
        for each in stale
    ]
    assert order == sorted(order)
    for each in stale:
        active = each.load_balancer.provisioning_status == "ACTIVE"
        assert active == (each.failover in {Failover.FREE, Failover.OUTAGE})


def test_counts_amphorae_and_load_balancers_of_each_image() -> None:
    census = census_of(
        runs_on(PROMOTED, "id-of-pair", role="MASTER"),
        runs_on(PROMOTED, "id-of-pair", role="BACKUP"),
        runs_on(OLD, "id-of-single"),
        runs_on("gone from Glance", None, status="ERROR", role=None),
    )
    told = document(census)
    assert [
        (image["id"], image["promoted"], image["amphorae"], image["load_balancers"])
        for image in told["images"]
    ] == [
        (PROMOTED.id, True, 2, 1),
        (OLD.id, False, 1, 1),
        (OLDER.id, False, 0, 0),
        ("gone from Glance", False, 1, 0),
    ]
    assert told["images"][-1]["status"] == "not shown by Glance"
    (unattached,) = told["without_load_balancer"]
    assert unattached["command"] == f"openstack loadbalancer amphora delete {unattached['id']}"


def test_says_nothing_of_use_where_octavia_does_not_tell() -> None:
    told = document(census_of(unknown="octavia.ask is never"))
    assert told["octavia"]["reason"] == "octavia.ask is never"
    assert told["failover"] is None  # an empty list would say that there is nothing to do
    assert told["without_load_balancer"] is None
    assert {image["amphorae"] for image in told["images"]} == {None}
    assert told["octavia_takes"]["image_id"] == PROMOTED.id


def test_lists_no_failover_without_a_promoted_image() -> None:
    told = document(census_of(runs_on(OLD, "id-of-x"), images=(OLD,)))
    assert told["failover"] == []
    assert any("nothing to fail over to" in each for each in told["warnings"])


def test_says_why_octavia_takes_an_image_and_why_not_the_others() -> None:
    tagged = {"tags": frozenset({"octavia-amphora"})}
    images = (
        PROMOTED,
        amphora_image(8, **tagged),
        amphora_image(20, hidden=True, **tagged),
        amphora_image(21, status="deactivated", **tagged),
        amphora_image(22, owner="tenant", **tagged),
    )
    taken = document(census_of(images=images, owner=OWN))["octavia_takes"]
    assert taken["image_id"] == PROMOTED.id
    assert taken["why"].startswith("created last of the 2 active, visible images of project")
    assert [no["reason"] for no in taken["passed_over"]] == [
        f"of project tenant, and amp_image_owner_id is {OWN}",
        "deactivated, not active",
        "hidden",
        f"created before {PROMOTED.id}",
    ]
    anybody = document(census_of(images=images))["octavia_takes"]
    assert anybody["image_id"] == "amphora-0022"


def test_warns_of_flavors_that_name_a_tag_of_no_target() -> None:
    tags = {"gold": "gold-amphora", "silver": "silver-amphora", "plain": "octavia-amphora"}
    silver = Target(name="silver", publish=PublishSettings(tag="silver-amphora"))
    told = document(census_of(image_tags=tags), configured=(TARGET, silver))
    assert [each.split(",")[0] for each in told["warnings"]] == [
        "flavor gold names the image tag gold-amphora"
    ]


def test_prints_lines_that_a_shell_can_take_whatever_tenants_name_their_things(
    capsys: pytest.CaptureFixture[str],
) -> None:
    census = census_of(
        runs_on(OLD, "id-of-a"),
        runs_on(OLD, "id-of-b"),
        load_balancers=(
            replace(serves("a"), name="a\nrm -rf /\x1b[2J"),
            replace(serves("b"), name="[red]b"),
        ),
    )
    show_audits([document(census)], "table")
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    lines = printed.splitlines()
    assert sum(line.startswith("openstack loadbalancer failover") for line in lines) == 2
    assert not any(line.startswith("rm") for line in lines)
    assert "a?rm -rf /?[2J (project project" in printed


def test_an_octavia_conf_that_agrees_is_nothing_to_speak_of() -> None:
    text = f"[controller_worker]\namp_image_tag = octavia-amphora\namp_image_owner_id = {OWN}\n"
    assert contradictions(parse(text, CONF), tag="octavia-amphora", project_id=OWN) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[controller_worker]\namp_image_owner_id = own-project\n", "does not set amp_image_tag"),
        (
            "[controller_worker]\namp_image_tag = x\namp_image_owner_id = own-project\n",
            "amp_image_tag = x, and publish.tag is octavia-amphora",
        ),
        (
            "[controller_worker]\namp_image_tag = octavia-amphora\n",
            "set amp_image_owner_id = own-project",
        ),
        (
            "[controller_worker]\namp_image_tag = octavia-amphora\namp_image_owner_id =\n",
            "set amp_image_owner_id = own-project",
        ),
        (
            "[controller_worker]\namp_image_tag = octavia-amphora\namp_image_owner_id = other\n",
            "amp_image_owner_id = other, and our images belong to project own-project",
        ),
    ],
)
def test_says_what_octavia_conf_has_otherwise(text: str, said: str) -> None:
    (told,) = contradictions(parse(text, CONF), tag="octavia-amphora", project_id=OWN)
    assert said in told


def test_reads_octavia_conf_as_oslo_config_does() -> None:
    text = """\
# amp_image_tag = commented
[DEFAULT]
debug
[controller_worker]
amp_image_tag = first
amp_boot_network_list = a,
    b
[keystone_authtoken]
password = 50%
[controller_worker]
amp_image_tag=octavia-amphora
amp_image_owner_id: own-project
"""
    wanted = parse(text, CONF)
    assert (wanted.tag, wanted.owner) == ("octavia-amphora", "own-project")


@pytest.mark.parametrize("content", [None, b"no section\n", b"\xff\xfe"])
def test_says_that_a_named_octavia_conf_cannot_be_read(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "octavia.conf"
    if content is not None:
        file.write_bytes(content)
    target = Target(octavia=OctaviaSettings(config_file=file))
    (said,) = mismatches(target, project_id=OWN, promoted=PROMOTED, usage=Usage())
    assert str(file) in said


def promoted_at(moment: datetime | str) -> Image:
    stamp = moment if isinstance(moment, str) else moment.isoformat()
    return amphora_image(9, tagged=True, properties={"retrofit_promoted_at": stamp})


def test_names_the_amphora_that_started_on_another_image_after_the_promotion() -> None:
    late = NOW - timedelta(hours=1)
    promoted = promoted_at(NOW - timedelta(hours=2))
    said = strays(
        promoted,
        [
            runs_on(OLD, "b", created_at=late),
            runs_on(OLD, "a", created_at=late),
            runs_on(OLD, "before", created_at=NOW - timedelta(days=1)),
            runs_on(promoted, "fine", created_at=late),
            runs_on(None, "booting", created_at=late),
        ],
    )
    assert len(said) == 1
    assert said[0].startswith("amphora amphora-of-a-STANDALONE-1 and 1 more started on image")
    assert OLD.id in said[0]


@pytest.mark.parametrize(("minutes", "counts"), [(4, False), (6, True)])
def test_forgives_clocks_that_differ_by_minutes(minutes: int, counts: bool) -> None:
    promoted = promoted_at(NOW)
    started = runs_on(OLD, "a", created_at=NOW + timedelta(minutes=minutes))
    assert bool(strays(promoted, [started])) == counts


def test_a_time_of_promotion_that_nobody_can_read_proves_nothing() -> None:
    assert strays(promoted_at("yesterday"), [runs_on(OLD, "a", created_at=NOW)]) == []
    assert strays(None, [runs_on(OLD, "a", created_at=NOW)]) == []
