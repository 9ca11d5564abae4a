"""The units under a real systemd: whole builds in their sandbox, and the worker's whole life."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scheduler.systemd_units import ALL_UNITS
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Handler
from tests.devcloud.mirror import Mirror
from tests.devcloud.octavia import ImageManager
from tests.devcloud.places import CACHE, CHECKOUT
from tests.e2e import leftovers
from tests.e2e.operations_page import block_with
from tests.e2e.real_builds import SERVICE_SETTINGS
from tests.e2e.real_systemd import CA, PROGRAMS, Machine, machine
from tests.integration.harness import RETENTION_AT_ONCE, CloudHarness
from tests.integration.rollover_site import RolloverSite, meeting, rollover_site, toml_of

pytestmark = pytest.mark.slow

# Patience, not a measure: other work may keep the machine busy.
BUILD_BEGINS = 1200.0
SETTLE = 120.0
CONFIG = "/etc/retrofit/retrofit.toml"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is built from the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (made,) = directory.glob("*.whl")
    return made


@pytest.fixture
def host(tmp_path: Path, wheel: Path) -> Iterator[Machine]:
    """A machine with retrofit installed and nothing configured."""
    state = tmp_path / "state"
    state.mkdir()
    (CACHE / "builds").mkdir(parents=True, exist_ok=True)
    binds = [f"{state}:/var/lib/retrofit", f"{CACHE / 'builds'}:/var/cache/retrofit"]
    with machine("retrofit-test", wheel=wheel, console=tmp_path / "console", binds=binds) as booted:
        yield booted
    assert leftovers.loop_devices(tmp_path) == []
    assert leftovers.mounts(tmp_path) == []


@pytest.fixture
def configured(host: Machine, devcloud: Any, clean_glance: None) -> Machine:
    """That machine, configured for the development cloud."""
    host.write("/etc/openstack/clouds.yaml", devcloud.clouds_yaml.read_text(), mode=0o600)
    settings = SERVICE_SETTINGS
    if host.run("test", "-f", CA, check=False).returncode == 0:
        settings += f'[build]\nca_bundle = "{CA}"\n'
    host.write(CONFIG, settings, mode=0o640)
    return host


def install(host: Machine, *words: str) -> str:
    return host.run(PROGRAMS / "retrofit-scheduler", "install", *words).stdout


def until(true: Callable[[], bool], *, within: float = SETTLE) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.2)


def is_another(host: Machine, unit: str, before: str) -> bool:
    """Tell whether the unit runs, in another process than `before`."""
    active = host.property(unit, "ActiveState") == "active"
    return active and host.property(unit, "MainPID") not in {"0", before}


def tagged(devcloud: Any) -> list[str]:
    glance = devcloud.glance(devcloud.cloud)
    return [image.id for image in glance.images.list(filters={"tag": ["octavia-amphora"]})]


def test_timer_brings_a_whole_retrofit_within_the_sandbox(
    configured: Machine, devcloud: Any, stock_image: Callable[[str], Path], tmp_path: Path
) -> None:
    host = configured
    mirror = Mirror(root=tmp_path / "mirror")
    mirror.publish(stock_image("noble"), series="noble", serial="20260911")
    devcloud.sync(mirror)
    said = install(host, "--timer")
    assert "wrote" in said
    # Nothing of what systemd thinks of the units, once it has really loaded them.
    assert "retrofit" not in host.journal("-p", "warning", "-t", "systemd")

    # Stopped in the middle of a build: that is unmounted, and the unit has not failed.
    host.systemctl("start", "--no-block", "retrofit.service")
    until(lambda: _installs_packages(host), within=BUILD_BEGINS)
    host.systemctl("stop", "retrofit.service")
    assert host.systemctl("is-failed", "retrofit.service", check=False) == "inactive"
    assert host.run("losetup", "--list", "--noheadings").stdout.count("/var/lib/retrofit") == 0
    assert tagged(devcloud) == []

    # The timer starts what the next elapse would, and the same sandbox takes it to the end.
    install(host, "--timer", "--enable")
    assert host.systemctl("is-active", "retrofit.timer") == "active"
    assert "retrofit.service" in host.systemctl("list-timers", "--no-pager", "retrofit.timer")
    host.systemctl("start", "retrofit.service")
    (image,) = tagged(devcloud)
    story = [json.loads(line) for line in host.journal("-t", "retrofit").splitlines()]
    ended = [each for each in story if each["event"] == "run ended"]
    assert [each["outcome"] for each in ended] == ["interrupted", "published"]
    assert "interrupted" in ended[0]["error"]
    assert ended[1]["image_id"] == image

    said = install(host, "--remove")
    assert "disabled retrofit.timer" in said
    assert host.systemctl("is-active", "retrofit.timer", check=False) == "inactive"


@pytest.fixture
def site(
    configured: Machine, devcloud: Devcloud, tiny_image: Callable[..., Path], tmp_path: Path
) -> Iterator[RolloverSite]:
    """Load balancers on an older image, in the cloud that the machine is configured for."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ImageManager(devcloud.running) as manager:
        harness = CloudHarness(
            site=devcloud, manager=manager, directory=elsewhere, make_image=tiny_image
        )
        with rollover_site(devcloud, harness) as made:
            made.promote("20260801", days=5)
            made.build(1, 1)
            yield made


def test_rollover_goes_on_where_it_was_stopped_within_its_own_sandbox(
    configured: Machine, site: RolloverSite
) -> None:
    host, unit = configured, "retrofit-rollover.service"
    newer = site.promote("20260911")

    def configure(**rollover: Any) -> None:
        enabled = toml_of(enabled=True, **rollover).replace(RETENTION_AT_ONCE, "")
        host.write(CONFIG, f"{SERVICE_SETTINGS}[freshness]\ncheck = false\n{enabled}", mode=0o640)

    # Stopped between two failovers: the first one stays, and the unit has not failed.
    configure(pause=3600)
    install(host, "--rollover", "--enable")
    assert "retrofit" not in host.journal("-p", "warning", "-t", "systemd")
    assert host.systemctl("is-active", "retrofit-rollover.timer") == "active"
    host.systemctl("start", "--no-block", unit)
    until(lambda: '"load balancer moved"' in host.journal("-t", "retrofit"))
    host.systemctl("stop", unit)
    assert host.systemctl("is-failed", unit, check=False) == "inactive"
    assert site.order() == ["pair-1"]

    # The next start asks Octavia how far it came, and moves the other one.
    configure()
    host.systemctl("start", unit)
    assert host.property(unit, "ExecMainStatus") == "0"
    assert site.order() == ["pair-1", "single-0"]
    assert site.images() == {"pair-1": {newer}, "single-0": {newer}}

    # A halt is told by the unit's exit code, and the next start honours it.
    site.promote("20260912")
    failing = site.load_balancers["pair-1"]
    meeting(site, {"pair-1": partial(_fails, site, failing)})
    host.systemctl("start", unit, check=False)
    assert host.property(unit, "ExecMainStatus") == "8"
    host.systemctl("start", unit, check=False)
    assert host.property(unit, "ExecMainStatus") == "8"
    assert site.order() == ["pair-1", "single-0", "pair-1"]


def _fails(site: RolloverSite, load_balancer: str, handler: Handler) -> bool:
    site.octavia.set_status(load_balancer, provisioning_status="ERROR")
    handler.answer(202)
    return True


def _installs_packages(host: Machine) -> bool:
    logs = "grep -qs in_target.d/install.d /var/log/retrofit/*/build.log"
    if host.run("sh", "-c", logs, check=False).returncode == 0:
        return True
    ended = host.systemctl("is-active", "retrofit.service", check=False) != "activating"
    assert not ended, host.journal("-t", "retrofit")
    return False


def test_sandbox_keeps_the_rest_of_the_host_out_of_reach(host: Machine) -> None:
    install(host, "--timer")
    host.write("/root/secret", "a secret\n")
    tries = {
        "home": "! cat /root/secret",
        "system": "! touch /etc/x /usr/x /var/x",
        "disk": "mknod /var/lib/retrofit/sda b 8 0 && ! head -c1 /var/lib/retrofit/sda",
        "kernel": "! sh -c 'echo 1 > /proc/sys/vm/swappiness'",
        "user-namespace": "! unshare --user true",
        "clock": "! date -s 2020-01-01",
    }
    for name, line in tries.items():
        host.write(f"/usr/local/bin/try-{name}", f"#!/bin/sh\n{line}\n", mode=0o755)
    commands = "".join(f"ExecStart=/usr/local/bin/try-{name}\n" for name in tries)
    drop_in = "/etc/systemd/system/retrofit.service.d/tries.conf"
    host.write(drop_in, f"[Service]\nExecStart=\n{commands}")
    host.systemctl("daemon-reload")
    host.systemctl("start", "retrofit.service")  # fails when one of them does
    # And it is the sandbox that did it.
    assert host.run("/usr/local/bin/try-home", check=False).returncode == 1
    assert host.run("/usr/local/bin/try-system", check=False).returncode == 1
    host.run("rm", "/etc/x", "/usr/x", "/var/x")
    assert host.run("/usr/local/bin/try-user-namespace", check=False).returncode == 1


def test_another_runs_lock_does_not_fail_the_unit(configured: Machine) -> None:
    host = configured
    install(host, "--timer")
    host.run("mkdir", "-p", "/var/lib/retrofit/locks")
    # As lock.py takes it: tooz names a file lock after what it locks.
    holder = (
        "import time, pathlib; from retrofit.config import LockSettings;"
        "from retrofit.lock.lock import held\n"
        "with held(LockSettings(), pathlib.Path('/var/lib/retrofit'), 'default'): time.sleep(600)"
    )
    host.run("systemd-run", "--unit=holder", "--collect", PROGRAMS / "python", "-c", holder)
    until(lambda: host.run("sh", "-c", "ls /var/lib/retrofit/locks").stdout != "")
    time.sleep(2)
    host.systemctl("start", "retrofit.service")
    assert host.systemctl("is-failed", "retrofit.service", check=False) == "inactive"
    assert '"locked"' in host.journal("-t", "retrofit")


def test_worker_is_started_reloaded_watched_and_stopped(configured: Machine) -> None:
    host = configured
    install(host, "--service", "--enable")
    unit = "retrofit-scheduler.service"
    assert host.systemctl("is-active", unit) == "active"
    until(lambda: "next run" in host.property(unit, "StatusText"))
    first = host.property(unit, "MainPID")

    host.systemctl("reload", unit)
    until(lambda: "configuration read again" in host.journal("-t", "retrofit"))
    assert host.property(unit, "MainPID") == first

    host.write(CONFIG, "[publish]\nkeeep = 2\n")
    host.systemctl("reload", unit)
    until(lambda: "configuration refused" in host.journal("-t", "retrofit"))
    assert host.systemctl("is-active", unit) == "active"
    host.write(CONFIG, SERVICE_SETTINGS)

    # Killed, or hanging longer than its watchdog allows: a new one takes its place.
    host.run("mkdir", "-p", f"/run/systemd/system/{unit}.d")
    host.write(
        f"/run/systemd/system/{unit}.d/quick.conf", "[Service]\nRestartSec=1\nWatchdogSec=8\n"
    )
    host.systemctl("daemon-reload")
    host.systemctl("restart", unit)
    for blow in ("KILL", "STOP"):
        before = host.property(unit, "MainPID")
        host.run("kill", "-s", blow, before)
        until(partial(is_another, host, unit, before), within=SETTLE)
    assert "Watchdog timeout" in host.journal("-u", unit)

    host.systemctl("stop", unit)
    assert host.property(unit, "Result") == "success"
    assert host.property(unit, "ExecMainStatus") == "0"


def test_worker_with_a_bad_configuration_is_not_started_again_and_again(host: Machine) -> None:
    host.write(CONFIG, "[publish]\nkeeep = 2\n")
    install(host, "--service")
    unit = "retrofit-scheduler.service"
    host.systemctl("start", unit, check=False)
    until(lambda: host.property(unit, "ActiveState") == "failed")
    assert host.property(unit, "ExecMainStatus") == "2"
    assert host.property(unit, "NRestarts") == "0"
    assert "publish.keeep" in host.journal("-t", "retrofit")


def test_credentials_may_be_systemds(configured: Machine, devcloud: Any) -> None:
    """As docs/operations.md says: nothing but the unit then reads the password."""
    host = configured
    install(host, "--timer")
    host.run("mv", "/etc/openstack/clouds.yaml", "/root/clouds.yaml")
    host.write(
        "/etc/systemd/system/retrofit.service.d/credentials.conf", block_with("LoadCredential=")
    )
    host.systemctl("daemon-reload")
    host.systemctl("start", "retrofit.service", check=False)
    # There is no source image: the cloud was reached, and that is what it said.
    assert host.property("retrofit.service", "ExecMainStatus") == "4", host.journal()


def test_units_are_known_to_the_running_systemd(host: Machine) -> None:
    install(host)
    for name in ALL_UNITS:
        assert host.property(name, "LoadState") == "loaded"
    said = host.run("systemd-analyze", "verify", *(f"/etc/systemd/system/{n}" for n in ALL_UNITS))
    assert said.stderr == ""
