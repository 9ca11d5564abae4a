"""Octavia makes, replaces and deletes load balancers on amphorae that run, and traffic flows.

Real are octavia-api, the worker's flows, the health manager, the amphora and Glance drivers; only
servers and networks are ours. Each test prints the seconds without traffic: `pytest -s`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from retrofit.config import VerifySettings
from retrofit.system import process
from retrofit.system.progress import silent
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import verify
from tests.devcloud.disks import opened, raw_copy
from tests.e2e.accelerator import ACCELERATOR
from tests.e2e.amphora_images import amphora_image, build_settings
from tests.e2e.octavia_itself.site import Balancer, Site, eventually, running_site
from tests.e2e.octavia_itself.traffic import ask, watched
from tests.e2e.sabotage import SABOTAGES

pytestmark = pytest.mark.slow

ANSWER = "from the member"
SERVED_WITHIN = 300.0
"""Seconds from ACTIVE to the first answer: a monitor's rounds, on a busy machine."""
SINGLE_GAP, PAIR_GAP, POWER_CUT_GAP = 180.0, 30.0, 30.0
"""Seconds without traffic that are a failure of this test, on a busy machine without KVM."""


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:
        # Sockets have short paths, and those of pytest are long.
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="site-")))
        stack.callback(keep_logs, base / "s", tmp_path / "site")

        def start(*, cpus: int) -> Site:
            return stack.enter_context(running_site(base / "s", cpus=cpus))

        yield start


def keep_logs(site: Path, kept: Path) -> None:
    """Copy what the servers and the machines' consoles showed, for whoever looks at a failure."""
    for log in (*site.glob("*.out"), *site.glob("cloud/log/*"), *site.glob("servers/*/*.log")):
        copy = kept / log.relative_to(site)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)


def report(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def served(balancer: Balancer, began: float) -> None:
    """Wait for the first answer through a new load balancer."""
    eventually(lambda: ask(balancer.vip) == ANSWER, within=SERVED_WITHIN)
    report(f"served {time.monotonic() - began:.0f} s after the request for the load balancer")
    eventually(lambda: balancer.member_status() == "ONLINE", within=SERVED_WITHIN)


def images(balancer: Balancer) -> set[str]:
    return {each["image_id"] for each in balancer.amphorae()}


def nothing_runs(site: Site) -> None:
    with site.driver("local_cloud").records() as database:
        assert database.execute("SELECT * FROM server").fetchall() == []
        assert database.execute("SELECT * FROM port").fetchall() == []


def moves_to_a_newer_image_and_goes(
    site: Site, balancer: Balancer, image: Path, topology: str, most: float
) -> None:
    """Fail over to a newer image, at most so many seconds without traffic, and delete it all."""
    second = site.upload(image, "second")
    with watched(balancer.vip, ANSWER) as watch:
        began = time.monotonic()
        balancer.fail_over()
        report(f"failover in {time.monotonic() - began:.0f} s")
    report(f"{topology} failover: {watch}")
    assert images(balancer) == {second}
    assert watch.longest_gap < most
    balancer.delete()
    nothing_runs(site)


def test_a_single_amphora_serves_and_is_replaced_by_a_newer_image(
    start_site: Callable[..., Site],
) -> None:
    image, site = amphora_image("distro", "noble"), start_site(cpus=2)

    def story() -> None:
        first = site.upload(image, "first")
        began = time.monotonic()
        balancer = site.create("single")
        served(balancer, began)
        assert images(balancer) == {first}
        moves_to_a_newer_image_and_goes(site, balancer, image, "SINGLE", SINGLE_GAP)

    site.within(story)


def test_a_pair_serves_through_a_failover_and_a_power_cut(
    start_site: Callable[..., Site],
) -> None:
    # Three machines at a time, while one of them is replaced: more CPUs than cores cost time.
    image, site = amphora_image("distro", "noble"), start_site(cpus=1)

    def story() -> None:
        site.upload(image, "first")
        began = time.monotonic()
        balancer = site.create("pair", topology="ACTIVE_STANDBY")
        served(balancer, began)
        assert sorted(each["role"] for each in balancer.amphorae()) == ["BACKUP", "MASTER"]

        holder = balancer.holder()
        with watched(balancer.vip, ANSWER) as watch:
            site.driver("local_servers").cut_power(holder)
            began = time.monotonic()
            eventually(lambda: balancer.status != "ACTIVE")
            report(f"the health manager acts {time.monotonic() - began:.0f} s after the power cut")
            balancer.settle()
            report(f"a pair again {time.monotonic() - began:.0f} s after the power cut")
        report(f"ACTIVE_STANDBY power cut: {watch}, at most {POWER_CUT_GAP:g} s are allowed")
        assert watch.longest_gap < POWER_CUT_GAP
        assert holder not in [each["compute_id"] for each in balancer.amphorae()]
        assert sorted(each["role"] for each in balancer.amphorae()) == ["BACKUP", "MASTER"]

        moves_to_a_newer_image_and_goes(site, balancer, image, "ACTIVE_STANDBY", PAIR_GAP)

    site.within(story)


def test_what_the_trial_refuses_does_not_work_in_octavia(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    (sabotage,) = [each for each in SABOTAGES if each.name == "ping-without-its-path"]
    good = amphora_image("distro", "noble")
    raw, bad = raw_copy(good, "qcow2", tmp_path / "bad.raw"), tmp_path / "bad.qcow2"
    with opened(raw) as root:
        sabotage.change(root)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, bad], timeout=600)
    raw.unlink()
    verdict = verify(
        VerifyRequest(
            image=bad,
            disk_format="qcow2",
            settings=VerifySettings(level="full", accelerator=ACCELERATOR),
            build=build_settings("distro"),
            architecture="x86_64",
            work_dir=tmp_path / "work",
            log_dir=tmp_path / "logs",
            progress=silent,
            only=(sabotage.check,),
        )
    )
    assert [check.name for check in verdict.failures] == [sabotage.check]
    report(f"the trial refuses it: {verdict.failures[0].detail}")
    site = start_site(cpus=2)

    def story() -> None:
        site.upload(bad, "refused")
        balancer = site.create("pings", monitor="PING")
        # Octavia calls it ACTIVE; nobody is served.
        eventually(lambda: balancer.member_status() == "ERROR", within=SERVED_WITHIN)
        assert ask(balancer.vip) == "status 503"
        report("Octavia: load balancer ACTIVE, member ERROR, requests get 503")
        site.upload(good, "promoted")
        balancer.fail_over()
        eventually(lambda: ask(balancer.vip) == ANSWER, within=SERVED_WITHIN)
        eventually(lambda: balancer.member_status() == "ONLINE", within=SERVED_WITHIN)
        report("after a failover to the image that passes: member ONLINE, requests are served")

    site.within(story)
