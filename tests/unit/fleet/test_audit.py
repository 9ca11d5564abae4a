"""What runs on what, in which order to move it, and whether Octavia looks for our image."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.cli.render.audit import show_audits
from retrofit.cloud.octavia_conf import contradictions, mismatches, parse, unexpected_amphorae
from retrofit.config import OctaviaSettings, PublishSettings, Target
from retrofit.control_plane.releases import stated
from retrofit.fleet.audit import audit
from retrofit.fleet.failover import Failover, FleetObservation, stale_load_balancers
from retrofit.model import Amphora, Fleet, Image, LoadBalancer, Usage
from retrofit.plan import Freshness, Identity, Inventory
from tests.unit.images import NOW, OWN
from tests.unit.images import amphora as amphora_image

TARGET = Target()
PROMOTED = amphora_image(9, tagged=True)
OLD = amphora_image(5)
OLDER = amphora_image(1)
JAMMY = Target(name="jammy", publish=PublishSettings(tag="octavia-amphora-jammy"))
IDENTITIES = (Identity.of(TARGET, OWN), Identity.of(JAMMY, OWN))
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


def fleet_observation(
    *amphorae: Amphora,
    load_balancers: tuple[LoadBalancer, ...] = (),
    images: tuple[Image, ...] = (PROMOTED, OLD, OLDER),
    unknown: str | None = None,
    identities: tuple[Identity, ...] = IDENTITIES,
    **fields: Any,
) -> FleetObservation:
    named = {each.load_balancer_id for each in amphorae if each.load_balancer_id}
    listed = load_balancers or tuple(serves(each.removeprefix("id-of-")) for each in sorted(named))
    return FleetObservation(
        where="cloud",
        inventory=Inventory(images=images, own_project=OWN, now=NOW),
        identities=identities,
        fleet=Fleet(
            usage=Usage(amphorae=amphorae, unknown=unknown),
            load_balancers=listed,
            image_tags=fields.pop("image_tags", {}),
        ),
        images={image.id: image for image in images},
        **fields,
    )


def document(
    observed: FleetObservation, *, configured: tuple[Target, ...] = (TARGET,)
) -> dict[str, Any]:
    return audit(TARGET, observed, configured=configured).as_dict()


def names(observed: FleetObservation) -> list[str]:
    return [each.load_balancer.name for each in stale_load_balancers(observed, PROMOTED)]


def test_fails_over_first_what_has_no_outage_and_last_what_octavia_refuses() -> None:
    observed = fleet_observation(
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
    assert names(observed) == ["pair", "single", "error", "pending"]
    remarks = [each["remark"] for each in document(observed)["failover"]]
    assert [remark.split(":")[0].split(" of ")[0] for remark in remarks] == [
        "no outage",
        "outage during failover",
        "in ERROR",
        "not now",
    ]
    assert "409" in remarks[-1]


def test_fails_over_the_oldest_image_first_then_by_name() -> None:
    observed = fleet_observation(
        runs_on(OLD, "id-of-b"),
        runs_on(OLD, "id-of-a"),
        runs_on(OLDER, "id-of-d"),
        runs_on("gone from Glance", "id-of-e"),
        runs_on(PROMOTED, "id-of-fine"),
    )
    assert names(observed) == ["e", "d", "a", "b"]
    ages = [each["oldest_image_age_days"] for each in document(observed)["failover"]]
    assert [age and round(age, 1) for age in ages] == [None, 41.6, 41.5, 41.5]


def test_orders_load_balancers_of_one_name_by_their_id() -> None:
    observed = fleet_observation(
        replace(runs_on(OLD, "id-of-b"), id="first"),
        replace(runs_on(OLD, "id-of-a"), id="second"),
        load_balancers=(replace(serves("b"), name="web"), replace(serves("a"), name="web")),
    )
    stale = stale_load_balancers(observed, PROMOTED)
    assert [each.load_balancer.id for each in stale] == ["id-of-a", "id-of-b"]


def test_a_pair_of_which_one_is_ill_has_an_outage() -> None:
    observed = fleet_observation(
        runs_on(OLD, "id-of-half", role="MASTER"),
        runs_on(OLD, "id-of-half", role="BACKUP", status="ERROR"),
    )
    (stale,) = stale_load_balancers(observed, PROMOTED)
    assert stale.failover is Failover.OUTAGE
    assert "only one of its two" in stale.remark


def test_a_pair_that_is_moved_by_half_is_still_to_be_moved() -> None:
    observed = fleet_observation(
        runs_on(PROMOTED, "id-of-half", role="MASTER"),
        runs_on(OLD, "id-of-half", role="BACKUP"),
    )
    assert names(observed) == ["half"]


def test_leaves_out_what_is_still_being_started() -> None:
    observed = fleet_observation(runs_on(None, "id-of-new", status="BOOTING", role=None))
    assert names(observed) == []
    assert document(observed)["octavia"]["booting"] == 1


def test_leaves_out_a_load_balancer_that_was_deleted_meanwhile() -> None:
    observed = fleet_observation(runs_on(OLD, "id-of-gone"), load_balancers=(serves("other"),))
    assert names(observed) == []


def test_counts_apart_what_runs_on_the_image_of_another_target() -> None:
    tags = frozenset({JAMMY.publish.tag, TARGET.publish.tag})
    jammy = amphora_image(8, target="jammy", tag=JAMMY.publish.tag, tags=tags)
    observed = fleet_observation(
        runs_on(jammy, "id-of-theirs"),
        runs_on(OLD, "id-of-ours"),
        images=(PROMOTED, OLD, jammy),
    )
    both = (TARGET, JAMMY)
    told = document(observed, configured=both)
    assert [each["name"] for each in told["failover"]] == ["ours"]
    assert told["other_targets"] == [{"target": "jammy", "amphorae": 1, "load_balancers": 1}]
    assert jammy.id in {image["id"] for image in told["images"]}  # it carries our tag
    # Another installation's, where the configuration has no such target.
    alone = replace(observed, identities=IDENTITIES[:1])
    assert [each["name"] for each in document(alone)["failover"]] == ["ours"]


def test_moves_what_runs_on_images_of_a_target_that_was_renamed() -> None:
    former = amphora_image(8, target="former")
    observed = fleet_observation(runs_on(former, "id-of-former"), images=(PROMOTED, former))
    assert [each["name"] for each in document(observed)["failover"]] == ["former"]


def test_a_foreign_project_cannot_pass_its_image_off_as_another_target_s() -> None:
    fake = amphora_image(8, target="jammy", owner="tenant")
    observed = fleet_observation(runs_on(fake, "id-of-theirs"), images=(PROMOTED, fake))
    told = document(observed, configured=(TARGET, Target(name="jammy")))
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
            FleetObservation(
                where="cloud",
                inventory=Inventory(images=tuple(images), own_project=OWN, now=NOW),
                identities=IDENTITIES,
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
    observed = fleet_observation(*amphorae, load_balancers=tuple(load_balancers))
    if not load_balancers:
        return
    stale = stale_load_balancers(observed, PROMOTED)
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
    observed = fleet_observation(
        runs_on(PROMOTED, "id-of-pair", role="MASTER"),
        runs_on(PROMOTED, "id-of-pair", role="BACKUP"),
        runs_on(OLD, "id-of-single"),
        runs_on("gone from Glance", None, status="ERROR", role=None),
    )
    told = document(observed)
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
    told = document(fleet_observation(unknown="octavia.query is never"))
    assert told["octavia"]["reason"] == "octavia.query is never"
    assert told["failover"] is None  # an empty list would say that there is nothing to do
    assert told["without_load_balancer"] is None
    assert {image["amphorae"] for image in told["images"]} == {None}
    assert told["octavia_image"]["image_id"] == PROMOTED.id


def test_lists_no_failover_without_a_promoted_image() -> None:
    told = document(fleet_observation(runs_on(OLD, "id-of-x"), images=(OLD,)))
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
    taken = document(fleet_observation(images=images, owner=OWN))["octavia_image"]
    assert taken["image_id"] == PROMOTED.id
    assert taken["why"].startswith("created last of the 2 active, visible images of project")
    assert [no["reason"] for no in taken["passed_over"]] == [
        f"of project tenant, and amp_image_owner_id is {OWN}",
        "deactivated, not active",
        "hidden",
        f"created before {PROMOTED.id}",
    ]
    anybody = document(fleet_observation(images=images))["octavia_image"]
    assert anybody["image_id"] == "amphora-0022"


def test_warns_of_flavors_that_name_a_tag_of_no_target() -> None:
    tags = {"gold": "gold-amphora", "silver": "silver-amphora", "plain": "octavia-amphora"}
    silver = Target(name="silver", publish=PublishSettings(tag="silver-amphora"))
    told = document(fleet_observation(image_tags=tags), configured=(TARGET, silver))
    assert [each.split(",")[0] for each in told["warnings"]] == [
        "flavor gold names the image tag gold-amphora"
    ]


def test_prints_lines_that_a_shell_can_take_whatever_tenants_name_their_things(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observed = fleet_observation(
        runs_on(OLD, "id-of-a"),
        runs_on(OLD, "id-of-b"),
        load_balancers=(
            replace(serves("a"), name="a\nrm -rf /\x1b[2J"),
            replace(serves("b"), name="[red]b"),
        ),
    )
    show_audits([audit(TARGET, observed, configured=(TARGET,))], "table")
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


def test_a_former_tag_in_octavia_conf_is_named_with_the_two_steps_to_take() -> None:
    text = f"[controller_worker]\namp_image_tag = was\namp_image_owner_id = {OWN}\n"
    wanted = parse(text, CONF)
    (told,) = contradictions(wanted, tag="v2", former_tags=("was",), project_id=OWN)
    assert "set amp_image_tag = v2, then take was out of publish.former_tags" in told


def test_a_flavor_that_names_a_former_tag_is_kept_current() -> None:
    target = Target(publish=PublishSettings(former_tags=("was",)))
    observed = fleet_observation(images=(PROMOTED,), image_tags={"gold": "was"})
    assert audit(target, observed, configured=(target,)).warnings == ()


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
    said = unexpected_amphorae(
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
    assert bool(unexpected_amphorae(promoted, [started])) == counts


def test_a_time_of_promotion_that_nobody_can_read_proves_nothing() -> None:
    assert unexpected_amphorae(promoted_at("yesterday"), [runs_on(OLD, "a", created_at=NOW)]) == []
    assert unexpected_amphorae(None, [runs_on(OLD, "a", created_at=NOW)]) == []


def test_the_document_of_a_target_that_octavia_answers_for() -> None:
    observed = fleet_observation(
        runs_on(OLD, "id-of-a"),
        runs_on(None, None, status="ERROR", number=2),
        runs_on(PROMOTED, None, number=3),
    )
    shown = document(observed)
    assert (shown["target"], shown["cloud"], shown["project_id"]) == ("default", "cloud", OWN)
    assert (shown["tag"], shown["promoted"]) == ("octavia-amphora", PROMOTED.id)
    assert shown["octavia"] == {
        "answers": True,
        "reason": None,
        "amphorae": 3,
        "load_balancers": 1,
        "booting": 1,
        "release": None,
    }
    (failover,) = shown["failover"]
    assert (failover["id"], failover["name"]) == ("id-of-a", "a")
    assert failover["command"] == "openstack loadbalancer failover id-of-a"
    assert [(each["id"], each["image_id"]) for each in shown["without_load_balancer"]] == [
        ("amphora-of-None-STANDALONE-2", None),
        ("amphora-of-None-STANDALONE-3", PROMOTED.id),
    ]
    assert [each["command"] for each in shown["without_load_balancer"]] == [
        "openstack loadbalancer amphora delete amphora-of-None-STANDALONE-2",
        None,
    ]


def test_the_document_has_every_fact_of_an_image() -> None:
    # With 86,401 seconds a day, its age would be rounded down.
    created_at = NOW - timedelta(days=41.2502)
    image = replace(OLD, created_at=created_at, hidden=True)
    rows = document(fleet_observation(runs_on("gone", "id-of-a"), images=(image,)))["images"]
    assert rows == [
        {
            "id": image.id,
            "name": image.name,
            "target": "default",
            "remark": None,
            "owner": OWN,
            "status": "active",
            "hidden": True,
            "promoted": False,
            "created_at": rows[0]["created_at"],
            "age_days": 41.2502,
            "amphorae": 0,
            "load_balancers": 0,
            "security_fixes": None,
        },
        {
            "id": "gone",
            "name": None,
            "target": None,
            "remark": None,
            "owner": None,
            "status": "not shown by Glance",
            "hidden": None,
            "promoted": False,
            "created_at": None,
            "age_days": None,
            "amphorae": 1,
            "load_balancers": 1,
            "security_fixes": None,
        },
    ]
    assert datetime.fromisoformat(rows[0]["created_at"]) == created_at.replace(microsecond=0)


def test_the_document_has_every_fact_of_a_failover() -> None:
    image = replace(OLD, created_at=NOW - timedelta(days=41.2502))
    observed = fleet_observation(
        runs_on(image, "id-of-a", role="MASTER"),
        runs_on(image, "id-of-a", role="BACKUP"),
        images=(PROMOTED, image),
    )
    shown = document(observed)
    (failover,) = shown["failover"]
    assert failover.pop("breaks") == []
    assert failover.pop("remark").startswith("no outage")
    assert failover == {
        "id": "id-of-a",
        "name": "a",
        "project_id": "project",
        "vip_address": "192.0.2.1",
        "provisioning_status": "ACTIVE",
        "operating_status": "ONLINE",
        "images": [image.id],
        "oldest_image_age_days": 41.2502,
        "failover": "free",
        "command": "openstack loadbalancer failover id-of-a",
    }
    assert shown["warnings"] == []


@pytest.mark.parametrize(
    ("images", "owner", "name", "why"),
    [
        ((), None, None, "no active, visible image carries the tag octavia-amphora"),
        (
            (OLD,),
            OWN,
            None,
            f"no active, visible image of project {OWN} carries the tag octavia-amphora",
        ),
        (
            (PROMOTED, OLD),
            None,
            PROMOTED.name,
            "the only active, visible image with the tag octavia-amphora",
        ),
        (
            (PROMOTED, amphora_image(8, tagged=True)),
            None,
            PROMOTED.name,
            "created last of the 2 active, visible images with the tag octavia-amphora",
        ),
    ],
)
def test_the_document_says_what_octavia_selects(
    images: tuple[Image, ...], owner: str | None, name: str | None, why: str
) -> None:
    shown = document(fleet_observation(images=images, owner=owner))["octavia_image"]
    assert (shown["name"], shown["why"]) == (name, why)


def test_images_of_other_targets_are_counted_for_each_and_not_listed() -> None:
    jammy, focal = (
        amphora_image(number, target=name, tag=name) for number, name in ((7, "j"), (8, "f"))
    )
    others = tuple(Target(name=name, publish=PublishSettings(tag=name)) for name in "jf")
    observed = fleet_observation(
        runs_on(jammy, "id-of-a"),
        runs_on(focal, "id-of-b"),
        runs_on(focal, "id-of-c"),
        images=(PROMOTED, jammy, focal),
        identities=tuple(Identity.of(each, OWN) for each in (TARGET, *others)),
    )
    shown = document(observed, configured=(TARGET, *others))
    assert shown["other_targets"] == [
        {"target": "f", "amphorae": 2, "load_balancers": 2},
        {"target": "j", "amphorae": 1, "load_balancers": 1},
    ]
    assert [each["id"] for each in shown["images"]] == [PROMOTED.id]


def test_the_document_has_the_warnings_of_all_that_was_read() -> None:
    observed = fleet_observation(
        runs_on(OLD, "id-of-a"),
        images=(OLD,),
        mismatches=("octavia.conf names another tag",),
        image_tags={"gold": "gold-amphora"},
    )
    assert document(observed)["warnings"][-3:] == [
        "octavia.conf names another tag",
        "flavor gold names the image tag gold-amphora, which is no target's: what it starts is"
        " not kept current",
        "no image of this target is promoted: there is nothing to fail over to",
    ]


def test_the_document_without_an_answer_counts_nothing() -> None:
    shown = document(fleet_observation(unknown="Octavia cannot be asked"))
    assert shown["octavia"] == {
        "answers": False,
        "reason": "Octavia cannot be asked",
        "amphorae": None,
        "load_balancers": None,
        "booting": None,
        "release": None,
    }
    for part in ("other_targets", "failover", "without_load_balancer"):
        assert shown[part] is None
    assert {(each["amphorae"], each["load_balancers"]) for each in shown["images"]} == {
        (None, None)
    }


def test_passed_over_images_have_their_reasons() -> None:
    tagged = {"tagged": True}
    images = (
        amphora_image(9, status="deactivated", **tagged),
        amphora_image(8, hidden=True, **tagged),
        amphora_image(7, owner="tenant", **tagged),
        amphora_image(6, **tagged),
        amphora_image(5, **tagged),
    )
    shown = document(fleet_observation(images=images, owner=OWN))["octavia_image"]
    assert shown["image_id"] == "amphora-0006"
    assert {each["image_id"]: each["reason"] for each in shown["passed_over"]} == {
        "amphora-0009": "deactivated, not active",
        "amphora-0008": "hidden",
        "amphora-0007": f"of project tenant, and amp_image_owner_id is {OWN}",
        "amphora-0005": "created before amphora-0006",
    }


def breaking(
    release: str, haproxy: str = "3.0.11", agent: str = "16.0.0", **kinds: frozenset[str]
) -> FleetObservation:
    """Observe two load balancers on an old image, of which the first has a health monitor."""
    seen = {"haproxy_version": haproxy, "amphora_agent_version": agent}
    promoted = replace(PROMOTED, properties={**PROMOTED.properties, **seen})
    observed = fleet_observation(
        runs_on(OLDER, "id-of-a"), runs_on(OLD, "id-of-b"), images=(promoted, OLD, OLDER)
    )
    return replace(
        observed,
        fleet=replace(observed.fleet, kinds=kinds or {"id-of-a": frozenset({"http-monitor"})}),
        control_plane=stated(release, "octavia.release"),
    )


def test_an_audit_names_load_balancers_that_the_promoted_image_breaks() -> None:
    document = audit(TARGET, breaking("2025.1"), configured=[TARGET])
    assert document.breaks is not None
    assert [(each.id, each.kinds, each.certain) for each in document.breaks] == [
        ("id-of-a", ("http-monitor",), True)
    ]
    assert "http_version" in document.breaks[0].why
    assert "3.0.11" in document.breaks[0].why
    assert document.octavia.release == "2025.1 (octavia.release)"


def test_load_balancers_that_would_break_come_last_and_are_no_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = audit(TARGET, breaking("2025.1"), configured=[TARGET])
    assert [each.id for each in document.failover or ()] == ["id-of-b", "id-of-a"]
    show_audits([document], "table")
    printed = capsys.readouterr().out.splitlines()
    assert "openstack loadbalancer failover id-of-b" in printed
    assert "# openstack loadbalancer failover id-of-a" in printed


@pytest.mark.parametrize(("release", "haproxy"), [("2025.2", "3.0.11"), ("2025.1", "2.6.12")])
def test_no_false_alarm_where_both_sides_agree(release: str, haproxy: str) -> None:
    document = audit(TARGET, breaking(release, haproxy), configured=[TARGET])
    assert document.breaks == ()
    assert [each.id for each in document.failover or ()] == ["id-of-a", "id-of-b"]


def test_a_break_that_a_version_of_the_release_avoids_is_listed_as_uncertain() -> None:
    observed = breaking("2025.1", **{"id-of-b": frozenset({"prometheus"})})
    document = audit(TARGET, observed, configured=[TARGET])
    assert [(each.id, each.certain) for each in document.breaks or ()] == [("id-of-b", False)]
    assert [each.id for each in document.failover or ()] == ["id-of-a", "id-of-b"]


@pytest.mark.parametrize(("agent", "broken"), [("13.0.1", ["id-of-b"]), ("14.0.0", [])])
def test_load_balancers_that_use_what_the_promoted_agent_lacks_break(
    agent: str, broken: list[str]
) -> None:
    observed = breaking("2025.1", agent=agent, **{"id-of-b": frozenset({"sr-iov-vip"})})
    document = audit(TARGET, observed, configured=[TARGET])
    assert [each.id for each in document.breaks or ()] == broken
    for each in document.breaks or ():
        assert "vip_vnic_type direct" in each.why
        assert f"agent {agent} of the promoted image has no rules of interfaces" in each.why
        assert each.certain


def test_images_that_run_are_listed_with_the_security_fixes_that_they_lack() -> None:
    fix = Update(package="a", source="a", installed="1", candidate="2", kind=UpdateKind.SECURITY)
    other = Update(package="b", source="b", installed="1", candidate="2", kind=UpdateKind.OTHER)
    known = Freshness(
        image_id=OLD.id, offer=Offer(checked_at=NOW, updates=(fix, other), newest_index=NOW)
    )
    unknown = Freshness(image_id=OLDER.id, unknown="no answer")
    found = document(fleet_observation(freshness={OLD.id: known, OLDER.id: unknown}))
    lacks = {image["id"]: image["security_fixes"] for image in found["images"]}
    assert lacks == {PROMOTED.id: None, OLD.id: 1, OLDER.id: None}
