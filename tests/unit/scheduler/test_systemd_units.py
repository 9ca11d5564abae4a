"""The units say what the code does: exit codes, directories, devices, time to stop."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from retrofit.build import work_directory
from retrofit.config import PathSettings, ScheduleSettings, WorkerSettings
from retrofit.config.file import load
from retrofit.errors import ConfigError, InterruptedRunError, LockedError
from retrofit.system import process
from retrofit.verify.boot.network import TUN
from scheduler.systemd_units import (
    ALL_UNITS,
    OWN_DIRECTORIES,
    STARTED,
    UNITS,
    Installation,
    is_edited,
    outside_own,
    render,
    template,
)

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = Path("/opt/retrofit/bin")
SERVICES = [name for name in ALL_UNITS if name.endswith(".service")]
BUILDERS = [name for name in SERVICES if "rollover" not in name]
"""Services whose runs build and boot."""


def unit(name: str, **installation: Any) -> dict[str, list[str]]:
    """The assignments of a unit, by key, in order."""
    text = render(name, Installation(programs=PROGRAMS, **installation))
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", ALL_UNITS)
def test_no_placeholder_is_left_in_a_unit(name: str) -> None:
    assert re.findall("@[A-Z_]+@", render(name, Installation(programs=PROGRAMS))) == []


def test_programs_are_those_of_the_installation() -> None:
    assert unit("retrofit.service")["ExecStart"] == ["/opt/retrofit/bin/retrofit run-once"]
    assert unit("retrofit.service")["ExecStopPost"] == ["-/opt/retrofit/bin/retrofit notify"]
    (command,) = unit("retrofit-scheduler.service")["ExecStart"]
    assert command == "/opt/retrofit/bin/retrofit-scheduler run"


def test_blanks_and_specifiers_in_the_path_are_escaped() -> None:
    text = render("retrofit.service", Installation(programs=Path("/opt/my 100%/bin")))
    assert r"ExecStart=/opt/my\x20100%%/bin/retrofit run-once" in text


def test_a_busy_or_interrupted_run_does_not_fail_the_unit() -> None:
    (statuses,) = unit("retrofit.service")["SuccessExitStatus"]
    assert {int(code) for code in statuses.split()} == {
        LockedError.exit_code,
        InterruptedRunError.exit_code,
    }


def test_a_bad_configuration_restarts_no_worker() -> None:
    (statuses,) = unit("retrofit-scheduler.service")["RestartPreventExitStatus"]
    assert int(statuses) == ConfigError.exit_code


@pytest.mark.parametrize("name", SERVICES)
def test_stopping_takes_longer_than_a_builds_cleanup(name: str) -> None:
    """What remains after TimeoutStopSec= is killed, and a killed build unmounts nothing."""
    (limit,) = unit(name)["TimeoutStopSec"]
    stopping = process.TERM_GRACE + process.KILL_WAIT
    clearing = work_directory.DETACH_WAIT + work_directory.TIMEOUT
    assert int(limit) > stopping + clearing
    assert int(limit) > WorkerSettings().stop_timeout
    assert unit(name)["KillMode"] == ["mixed"]


def test_a_run_that_hangs_is_stopped_as_the_worker_would_stop_it() -> None:
    (limit,) = unit("retrofit.service")["TimeoutStartSec"]
    assert int(limit) == ScheduleSettings().time_limit
    assert unit("retrofit.service", run_limit=7200)["TimeoutStartSec"] == ["7200"]


def test_systemd_waits_longer_than_the_worker_is_told_to() -> None:
    text = render("retrofit-scheduler.service", Installation(programs=PROGRAMS, worker_stop=900))
    assert "TimeoutStopSec=960\n" in text


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_makes_the_directories_that_are_configured_by_default(name: str) -> None:
    said = unit(name)
    made = {
        *(f"/var/lib/{each}" for each in said["StateDirectory"][0].split()),
        *(f"/var/cache/{each}" for each in said["CacheDirectory"][0].split()),
        *(f"/var/log/{each}" for each in said["LogsDirectory"][0].split()),
    }
    paths = PathSettings()
    assert made == {str(path) for path in (paths.state, paths.work, paths.cache, paths.logs)}
    assert outside_own(Path(each) for each in made) == ()
    assert made >= {str(path) for path in OWN_DIRECTORIES}


def test_directories_configured_elsewhere_are_made_writable() -> None:
    elsewhere = outside_own([Path("/srv/retrofit"), Path("/var/lib/retrofit/work")])
    assert elsewhere == (Path("/srv/retrofit"),)
    assert unit("retrofit.service", writable=elsewhere)["ReadWritePaths"] == ["/srv/retrofit"]
    assert "ReadWritePaths" not in unit("retrofit.service")


@pytest.mark.parametrize("place", ["/root/retrofit/bin", "/home/ada/venv/bin", "/run/user/7/bin"])
def test_homes_stay_readable_when_the_programs_lie_in_one(place: str) -> None:
    text = render("retrofit.service", Installation(programs=Path(place)))
    assert "ProtectHome=read-only" in text
    assert unit("retrofit.service")["ProtectHome"] == ["true"]
    assert unit("retrofit.service", needed=(Path("/root/.pyenv"),))["ProtectHome"] == ["read-only"]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_devices_that_are_used_may_be_used(name: str) -> None:
    allowed = dict(each.rsplit(" ", 1) for each in unit(name)["DeviceAllow"])
    # produce/preflight, verify/boot: what a build and a boot open.
    assert allowed["/dev/loop-control"] == "rw"
    assert allowed["block-loop"] == "rwm"
    assert allowed["/dev/kvm"] == "rw"
    assert allowed[str(TUN)] == "rw"


CONTAINER_GUIDE = Path(__file__).resolve().parents[3] / "docs/how-to/container.md"


@pytest.mark.parametrize("name", BUILDERS)
def test_units_and_containers_have_the_capabilities_of_every_check(name: str) -> None:
    """Raw sockets among them: what the machine lacks is refused before a build."""
    kept = {
        each.removeprefix("CAP_")
        for line in unit(name)["CapabilityBoundingSet"]
        for each in line.split()
    }
    added = {
        each
        for words in re.findall(r"--cap-add (\S+)", CONTAINER_GUIDE.read_text())
        for each in words.split(",")
    }
    assert "NET_RAW" in kept
    assert kept == added


@pytest.mark.parametrize("name", BUILDERS)
def test_nothing_that_decides_modes_in_an_image_is_restricted(name: str) -> None:
    said = unit(name)
    assert said["UMask"] == ["0022"]
    assert "RestrictSUIDSGID" not in said
    assert "CAP_SETFCAP" in " ".join(said["CapabilityBoundingSet"])


def test_the_story_of_a_run_reaches_the_journal() -> None:
    """StandardError= is that of StandardOutput= unless it is said."""
    assert unit("retrofit.service")["StandardError"] == ["journal"]


def test_each_way_starts_a_unit_that_can_be_enabled() -> None:
    assert set(STARTED) == set(UNITS)
    for way, name in STARTED.items():
        assert name in UNITS[way]
        assert "WantedBy" in unit(name)


def test_a_unit_as_written_is_not_edited() -> None:
    text = render("retrofit.timer", Installation(programs=PROGRAMS))
    assert not is_edited(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("hourly", "daily"),
        lambda text: text + "\n",
        lambda text: text.replace("sha256 ", "sha256 0"),
        lambda text: text.partition("\n")[2],
        lambda _text: "",
    ],
)
def test_any_change_to_a_unit_is_noticed(change: object) -> None:
    text = render("retrofit.timer", Installation(programs=PROGRAMS))
    assert callable(change)
    assert is_edited(change(text))


def test_the_example_configuration_is_valid_as_it_is_and_in_full(tmp_path: Path) -> None:
    example = template("retrofit.toml")
    in_full = re.sub(r"^#(?=[\[a-z])", "", example, flags=re.MULTILINE)
    assert set(tomllib.loads(example)) == set()
    assert set(tomllib.loads(in_full)) >= {"cloud", "source", "publish", "lock"}
    for number, text in enumerate((example, in_full)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        load(path)


def test_a_rollover_has_no_devices_no_namespaces_and_no_mounts() -> None:
    said = unit("retrofit-rollover.service")
    assert said["ExecStart"] == ["/opt/retrofit/bin/retrofit rollover --yes --if-enabled"]
    assert said["PrivateDevices"] == ["true"]
    assert said["RestrictNamespaces"] == ["true"]
    kept = " ".join(said["CapabilityBoundingSet"])
    assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_MKNOD"} & set(kept.split())
    assert set(said["SuccessExitStatus"][0].split()) == {
        str(LockedError.exit_code),
        str(InterruptedRunError.exit_code),
    }
    assert "ReadWritePaths" not in said
    elsewhere = unit("retrofit-rollover.service", writable=(Path("/srv/state"),))
    assert elsewhere["ReadWritePaths"] == ["/srv/state"]


def test_mail_of_a_failed_unit_may_change_its_group_or_user() -> None:
    """Programs such as postdrop and exim are setgid or setuid (systemd.exec: NoNewPrivileges=)."""
    text = (ROOT / "monitoring/systemd/retrofit-failure@.service").read_text()
    keys = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    assert "ExecStart" in keys
    assert keys.isdisjoint({"DynamicUser", "NoNewPrivileges", "User", "Group"})
    assert not any(key.startswith(("Restrict", "Protect", "Private", "System")) for key in keys)
