"""`retrofit rollover` against a real octavia-api and Octavia's own controller flows."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.juju import action as juju_action
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Front, Handler
from tests.devcloud.octavia_api import Octavia
from tests.integration.harness import TAG, CloudHarness
from tests.integration.juju_tools import JujuTools, Told
from tests.integration.rollover_site import RolloverSite, counted, meeting


@pytest.fixture(scope="module")
def beating(devcloud: Devcloud) -> Iterator[tuple[Octavia, Front]]:
    """An Octavia whose amphorae send heartbeats, behind a front that counts."""
    octavia = Octavia(
        cloud=devcloud.running, admin=devcloud.session(devcloud.admin_cloud), heartbeats=True
    )
    try:
        octavia.start()
        octavia.register()
        with counted(octavia) as front:
            yield octavia, front
    finally:
        octavia.stop()
        octavia.unregister()


@pytest.fixture
def site(harness: CloudHarness, beating: tuple[Octavia, Front]) -> RolloverSite:
    octavia, front = beating
    octavia.up()
    octavia.clear()
    octavia.mute([])
    front.asked.clear()
    front.answered.clear()
    front.meet = lambda _handler: False
    made = RolloverSite(harness=harness, octavia=octavia, front=front)
    made.settings()
    return made


def answering(site: RolloverSite, name: str, **row: str) -> Callable[[Handler], bool]:
    """Accept a failover as Octavia does, and leave the load balancer as a failed flow does."""

    def act(handler: Handler) -> bool:
        site.octavia.set_status(site.load_balancers[name], **row)
        handler.answer(202)
        return True

    return act


@pytest.mark.slow
def test_juju_rolls_over_by_its_action(
    site: RolloverSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    juju = JujuTools(directory=tmp_path / "tools")

    def act(**parameters: object) -> Told:
        environment = {**juju.env("rollover", parameters)}
        environment["RETROFIT_CONFIG"] = str(site.harness.config)
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            juju_action.act("rollover")
        told = juju.told()
        assert told.refused == []
        return told

    older = site.promote("20260801", days=5)
    site.build(1, 1)
    newer = site.promote("20260911")
    shown = act(**{"dry-run": True}).results
    assert (shown["due"], shown["image-id"], shown["left"]) == ("2", newer, "")
    assert "pair-1: " in shown["schedule"]
    assert "single-0: " in shown["schedule"]
    assert set().union(*site.images().values()) == {older}
    pair, single = site.load_balancers["pair-1"], site.load_balancers["single-0"]
    meeting(site, {"single-0": answering(site, "single-0", provisioning_status="ERROR")})
    halted = act(**{"dry-run": False, "resume": False, "reason": "a fix"})
    assert halted.failed is not None
    assert "is in ERROR" in halted.failed
    facts = halted.results
    assert (facts["outcome"], facts["halted"]) == ("halted", "yes")
    assert (facts["moved"], facts["failed"]) == (pair, single)
    site.octavia.set_status(single, provisioning_status="ACTIVE")
    told = act(resume=True)
    assert (told.failed, told.results["outcome"]) == (None, "rolled_over")
    assert told.results["moved"] == single
    assert set().union(*site.images().values()) == {newer}


def test_moves_everything_once_pairs_first_and_says_so(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(2, 2)
    newer = site.promote("20260911")
    planned = site.harness.read("rollover", "--dry-run")
    assert [each["name"] for each in planned["steps"]] == [
        *("pair-2", "pair-3"),
        *("single-0", "single-1"),
    ]
    report = site.roll()
    assert report["outcome"] == "rolled_over"
    assert [each["outcome"] for each in report["load_balancers"]] == ["moved"] * 4
    assert all(images == {newer} for images in site.images().values())
    assert site.accepted() == dict.fromkeys(site.load_balancers, 1)
    assert site.order() == ["pair-2", "pair-3", "single-0", "single-1"]
    assert site.harness.read("audit")["failover"] == []
    assert site.roll()["outcome"] == "unchanged"
    history = site.harness.read("history")
    assert "rollover" in str(history)
    assert site.accepted().total() == 4
    assert not [key for key in site.harness.image(newer) if key.startswith("retrofit_rollover")]


HOLDER = """
import sys, time
from pathlib import Path
from retrofit.config.file import load
from retrofit.operations.rollover import _lock

settings = load(Path(sys.argv[1]))
with _lock(settings.targets[0], settings):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_nothing_moves_while_another_rollover_has_the_lock(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(1, 0)
    newer = site.promote("20260911")
    words = (sys.executable, "-c", HOLDER, str(site.harness.config))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            report = site.roll(exit_code=75)
        finally:
            holder.kill()
    assert report["outcome"] == "locked"
    assert "another rollover of this cloud is going on" in report["error"]["message"]
    assert site.accepted().total() == 0
    assert site.roll()["outcome"] == "rolled_over"
    assert site.images() == {"single-0": {newer}}


def test_an_error_halts_every_machine_until_a_person_goes_on(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(3, 1)
    newer = site.promote("20260911")
    meeting(site, {"single-1": answering(site, "single-1", provisioning_status="ERROR")})
    report = site.roll(exit_code=8)
    assert report["outcome"] == "halted"
    assert site.order() == ["pair-3", "single-0", "single-1"]
    assert "single-1" in report["error"]["message"]
    site.harness.machine = "b"
    again = site.roll(exit_code=8)
    assert "is in ERROR" in again["error"]["message"]
    assert len(site.order()) == 3
    # What is in ERROR is moved last: Octavia accepts that, and it may mend it.
    done = site.roll("--resume")
    assert done["outcome"] == "rolled_over"
    assert site.order()[3:] == ["single-2", "single-1"]
    assert all(images == {newer} for images in site.images().values())


@pytest.mark.slow
def test_an_amphora_that_sends_no_statistics_halts(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(3, 0)
    site.settings(settle_timeout=10)
    site.promote("20260911")
    site.octavia.mute([site.load_balancers["single-0"]])
    report = site.roll(exit_code=8)
    assert "has sent no statistics" in report["error"]["message"]
    assert site.order() == ["single-0"]
    site.octavia.mute([])
    assert site.roll("--resume")["outcome"] == "rolled_over"
    assert site.accepted() == dict.fromkeys(site.load_balancers, 1)


@pytest.mark.slow
def test_what_is_stuck_halts_and_names_who_can_end_it(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(2, 0, listeners=False)
    site.settings(settle_timeout=10)
    newer = site.promote("20260911")
    pending = answering(site, "single-0", provisioning_status="PENDING_UPDATE")
    meeting(site, {"single-0": pending})
    report = site.roll(exit_code=8)
    assert "only Octavia's operator" in report["error"]["message"]
    # Seen by a person, it is left alone; the others move.
    report = site.roll("--resume")
    assert any("only Octavia's operator" in each for each in report["notes"])
    assert site.images()["single-1"] == {newer}
    assert site.order() == ["single-0", "single-1"]


@pytest.mark.slow
def test_another_image_than_the_promoted_one_halts(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(2, 0)
    site.promote("20260911")

    def plant(_handler: Handler) -> bool:
        site.harness.foreign(tags=[TAG])
        return False

    meeting(site, {"single-0": plant})
    report = site.roll(exit_code=8)
    assert "not from the promoted one" in report["error"]["message"]
    assert site.order() == ["single-0"]


@pytest.mark.slow
def test_a_promotion_in_the_middle_is_no_doubt(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(3, 0)
    middle = site.promote("20260911")
    newest: list[str] = []

    def promote(_handler: Handler) -> bool:
        newest.append(site.harness.promoted("20260912"))
        site.harness.client.image_tags.delete(middle, TAG)
        return False

    meeting(site, {"single-1": promote})
    assert site.roll()["outcome"] == "rolled_over"
    assert site.accepted() == dict.fromkeys(site.load_balancers, 1)
    # What moved before stays: it is merely one behind, in a rollover that goes on.
    assert site.images() == {
        "single-0": {middle},
        "single-1": set(newest),
        "single-2": set(newest),
    }


@pytest.mark.slow
def test_409_404_and_a_failover_by_others_are_no_failures(site: RolloverSite) -> None:
    site.promote("20260801", days=5)
    site.build(3, 1)
    newer = site.promote("20260911")
    ids = site.load_balancers

    def delete(_handler: Handler) -> bool:
        site.octavia.set_status(ids["single-0"], provisioning_status="DELETED")
        return False

    def fail_over_too(_handler: Handler) -> bool:
        url = f"{site.octavia.url}/v2/octavia/amphorae"
        amphorae = site.octavia.admin.get(f"{url}?loadbalancer_id={ids['single-1']}").json()
        site.octavia.admin.put(f"{url}/{amphorae['amphorae'][0]['id']}/failover")
        return False

    meeting(site, {"single-0": delete, "single-1": fail_over_too})
    assert site.roll()["outcome"] == "rolled_over"
    images = site.images()
    assert {name for name, on in images.items() if on == {newer}} >= {
        *("single-1", "single-2", "pair-3")
    }
    answers = {
        asked.path.split("/")[-2]: status
        for asked, status in site.front.answered
        if asked.method == "PUT"
    }
    assert (answers[ids["single-0"]], answers[ids["single-1"]]) == (404, 409)


def test_the_way_back_moves_what_moved_and_nothing_else(site: RolloverSite) -> None:
    older = site.promote("20260801", days=5)
    site.build(3, 0, listeners=False)
    site.settings(canaries=[site.load_balancers["single-2"]])
    site.promote("20260911")
    meeting(site, {"single-1": answering(site, "single-1", provisioning_status="ERROR")})
    site.roll(exit_code=8)
    assert site.order() == ["single-2", "single-0", "single-1"]
    site.octavia.set_status(site.load_balancers["single-1"], provisioning_status="ACTIVE")
    site.harness.act("rollback", "--yes")
    site.settings(canaries=[site.load_balancers["single-2"]], older_than=30, soak=48)
    assert site.roll()["outcome"] == "rolled_over"
    assert site.order()[3:] == ["single-2", "single-0"]
    assert all(images == {older} for images in site.images().values())


def test_nothing_moves_outside_a_window_without_rights_or_past_the_guard(
    site: RolloverSite, tmp_path: Path
) -> None:
    site.promote("20260801", days=5)
    site.build(1, 0)
    site.promote("20260911")
    tomorrow = (datetime.now(UTC).hour + 12) % 24
    site.harness.toml += f'[[rollover.windows]]\nstart = "0 {tomorrow} * * *"\nminutes = 60\n'
    waits = site.roll()
    assert (waits["outcome"], "outside rollover.windows" in str(waits["reasons"])) == (
        "postponed",
        True,
    )
    site.settings()
    guard = tmp_path / "guard"
    guard.write_text('#!/bin/sh\necho "backup of $RETROFIT_PROJECT runs" >&2\nexit 1\n')
    guard.chmod(0o755)
    site.harness.toml += f'[rollover.guard]\ncommand = ["{guard}"]\n'
    assert "runs" in str(site.roll()["reasons"])
    site.settings()
    site.harness.toml = site.harness.toml.replace('cloud = "demo-admin"', 'cloud = "demo"')
    denied = site.harness.retrofit("rollover", "--yes", exit_code=3)
    assert "hint" in denied.stdout + denied.stderr
    assert site.order() == []


@pytest.mark.slow
def test_a_thousand_load_balancers_cost_one_listing_and_a_step_as_much_as_with_ten(
    site: RolloverSite,
) -> None:
    """What one step asks does not grow with the load balancers; what a pass asks grows by pages."""
    older = site.promote("20260801", days=5)
    site.build(3, 0, listeners=False)
    site.harness.toml += '[rollover.only]\ntags = ["mine"]\n'
    for each in site.load_balancers.values():
        url = f"{site.octavia.url}/v2/lbaas/loadbalancers/{each}"
        site.octavia.admin.put(url, json={"loadbalancer": {"tags": ["mine"]}})
    asked = {}
    for count in (10, 1000):
        newer = site.promote(f"202609{count // 100 + 10}")
        _fill(site, older, count)
        site.front.asked.clear()
        began = time.monotonic()
        report = site.roll()
        seconds = time.monotonic() - began
        assert sum(each["outcome"] == "moved" for each in report["load_balancers"]) == 3
        for load_balancer in site.load_balancers.values():
            assert set(site.octavia.images_of(load_balancer)) == {newer}
        listings = [each.path for each in site.front.asked if _is_listing(each.path)]
        asked[count] = len(site.front.asked) - len(listings)
        print(
            f"\n{count} load balancers: {seconds:.1f} s, {len(listings)} pages of listings,"
            f" {asked[count]} other requests for 3 failovers"
        )
        assert len(listings) <= len(LISTED) * (1 + count // 1000)
    # Each look at what settles is one more: three failovers differ by some.
    assert asked[1000] <= asked[10] + 6


LISTED = ("amphorae", "loadbalancers", "listeners", "pools", "healthmonitors", "l7policies",
          "flavors", "flavorprofiles")  # fmt: skip


def _is_listing(path: str) -> bool:
    collection, _, query = path.rpartition("/")[2].partition("?")
    return collection in LISTED and "loadbalancer_id" not in query


def _fill(site: RolloverSite, image: str, count: int) -> None:
    """Have so many more load balancers that nobody moves."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    site.octavia.add(
        load_balancers=[{"id": each, "name": each} for each in ids],
        amphorae=[
            {"id": str(uuid.uuid4()), "load_balancer_id": each, "image_id": image} for each in ids
        ],
    )
