"""`retrofit-scheduler install` on the tree of a system, and systemd's own opinion of the result."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from retrofit.errors import ConfigError
from scheduler.install import install
from scheduler.systemd_units import ALL_UNITS, Installation, render

UNITS = Path("etc/systemd/system")
WANTED_BY_TIMERS = UNITS / "timers.target.wants" / "retrofit.timer"
WANTED_BY_MULTI_USER = UNITS / "multi-user.target.wants" / "retrofit-scheduler.service"
EXPOSURE = 45
"""Tenths, of 100, that were reached with systemd 252: what a build needs costs that much."""


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(install, [*words, "--root", str(root)])


def installed(root: Path, *words: str) -> Result:
    result = run(root, *words)
    assert result.exception is None, result.exception
    return result


def refused(root: Path, *words: str) -> ConfigError:
    result = run(root, *words)
    assert isinstance(result.exception, ConfigError)
    return result.exception


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_puts_all_units_and_an_example_configuration_in_place(tmp_path: Path) -> None:
    installed(tmp_path)
    assert files(tmp_path) == {
        *(str(UNITS / name) for name in ALL_UNITS),
        "etc/retrofit/retrofit.toml",
    }
    assert (tmp_path / "etc/retrofit/retrofit.toml").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/retrofit").stat().st_mode & 0o777 == 0o750
    programs = Path(sys.executable).parent
    assert f"ExecStart={programs}/retrofit " in (tmp_path / UNITS / "retrofit.service").read_text()


def test_one_way_brings_only_its_own_units(tmp_path: Path) -> None:
    installed(tmp_path, "--service")
    assert {Path(name).name for name in files(tmp_path / UNITS)} == {"retrofit-scheduler.service"}


def test_says_that_nothing_changed_when_repeated(tmp_path: Path) -> None:
    installed(tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    said = installed(tmp_path).output
    assert said.count("unchanged") == len(ALL_UNITS)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)} == before


def test_replaces_the_units_of_another_version_unasked(tmp_path: Path) -> None:
    installed(tmp_path, "--timer")
    timer = tmp_path / UNITS / "retrofit.timer"
    timer.write_text(render("retrofit.service", Installation(programs=Path("/opt/old/bin"))))
    assert f"wrote {timer}" in installed(tmp_path, "--timer").output
    assert "OnCalendar" in timer.read_text()


def test_an_edited_unit_stops_it_before_anything_is_changed(tmp_path: Path) -> None:
    installed(tmp_path)
    timer = tmp_path / UNITS / "retrofit.timer"
    timer.write_text(timer.read_text().replace("hourly", "daily"))
    (tmp_path / UNITS / "retrofit.service").unlink()
    error = refused(tmp_path)
    assert str(timer) in error.message
    assert not (tmp_path / UNITS / "retrofit.service").exists()
    assert "daily" in timer.read_text()


def test_force_replaces_an_edited_unit_and_keeps_it_aside(tmp_path: Path) -> None:
    installed(tmp_path)
    timer = tmp_path / UNITS / "retrofit.timer"
    edited = timer.read_text().replace("hourly", "daily")
    timer.write_text(edited)
    said = installed(tmp_path, "--force").output
    assert "retrofit.timer.saved" in said
    assert timer.with_name("retrofit.timer.saved").read_text() == edited
    assert "hourly" in timer.read_text()


def test_leaves_an_existing_configuration_alone(tmp_path: Path) -> None:
    configuration = tmp_path / "etc/retrofit/retrofit.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text('[cloud]\nname = "production"\n')
    installed(tmp_path)
    assert configuration.read_text() == '[cloud]\nname = "production"\n'


def test_directories_of_the_configuration_are_made_and_writable(tmp_path: Path) -> None:
    configuration = tmp_path / "etc/retrofit/retrofit.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        '[paths]\nwork = "/srv/amphorae"\n'
        '[metrics]\ntextfile = "/var/lib/prometheus/node-exporter/retrofit.prom"\n'
    )
    installed(tmp_path)
    assert (tmp_path / "srv/amphorae").is_dir()
    for name in ("retrofit.service", "retrofit-scheduler.service"):
        lines = (tmp_path / UNITS / name).read_text().splitlines()
        assert "ReadWritePaths=/srv/amphorae /var/lib/prometheus/node-exporter" in lines


def test_a_run_gets_the_time_of_all_its_targets(tmp_path: Path) -> None:
    configuration = tmp_path / "etc/retrofit/retrofit.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        "[schedule]\ntime_limit = 3600\n"
        '[target.north.cloud]\nregion = "north"\n'
        '[target.south.cloud]\nregion = "south"\n'
        "[target.south.schedule]\ntime_limit = 7200\n"
    )
    installed(tmp_path)
    lines = (tmp_path / UNITS / "retrofit.service").read_text().splitlines()
    assert "TimeoutStartSec=10800" in lines


def test_a_bad_configuration_is_a_warning(tmp_path: Path) -> None:
    configuration = tmp_path / "etc/retrofit/retrofit.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("[publish]\nkeeep = 2\n")
    assert "publish.keeep" in installed(tmp_path).output


def test_enabling_one_way_disables_the_other(tmp_path: Path) -> None:
    installed(tmp_path, "--timer", "--enable")
    assert (tmp_path / WANTED_BY_TIMERS).is_symlink()
    said = installed(tmp_path, "--service", "--enable").output
    assert "disabled retrofit.timer" in said
    assert not (tmp_path / WANTED_BY_TIMERS).is_symlink()
    assert (tmp_path / WANTED_BY_MULTI_USER).is_symlink()


@pytest.mark.parametrize("words", [["--enable"], ["--enable", "--timer", "--remove"]])
def test_enabling_needs_to_know_what(tmp_path: Path, words: list[str]) -> None:
    refused(tmp_path, *words)
    assert files(tmp_path) == set()


def test_removing_leaves_nothing_but_the_configuration(tmp_path: Path) -> None:
    installed(tmp_path, "--timer", "--enable")
    installed(tmp_path, "--service")
    installed(tmp_path, "--remove")
    assert files(tmp_path) == {"etc/retrofit/retrofit.toml"}
    installed(tmp_path, "--remove")  # twice does no harm


def test_removing_leaves_an_edited_unit_and_says_so(tmp_path: Path) -> None:
    installed(tmp_path)
    timer = tmp_path / UNITS / "retrofit.timer"
    timer.write_text(timer.read_text().replace("hourly", "daily"))
    assert f"left {timer}" in installed(tmp_path, "--remove").output
    assert timer.exists()
    installed(tmp_path, "--remove", "--force")
    assert not timer.exists()


def test_command_ends_with_the_exit_code_of_bad_arguments(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("retrofit-scheduler"), "install"]
    done = subprocess.run(
        [*command, "--enable", "--root", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == ConfigError.exit_code
    assert "one of --timer, --service and --rollover" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unwritable_system_is_an_operators_error(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("not a directory")
    assert "etc" in refused(tmp_path).message


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """All units, as installed for programs that exist."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("retrofit", "retrofit-scheduler"):
        shutil.copyfile("/bin/true", programs / name)
        (programs / name).chmod(0o755)
    found = []
    for name in ALL_UNITS:
        found.append(tmp_path / name)
        found[-1].write_text(render(name, Installation(programs=programs)))
    return found


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        env={"PATH": os.environ["PATH"], "SYSTEMD_LOG_LEVEL": "notice"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_systemd_has_nothing_to_say_against_the_units(units: list[Path]) -> None:
    said = analyze("verify", *units)
    # It exits with 0 in spite of keys that it does not know.
    assert (said.returncode, said.stderr) == (0, "")


def test_that_silence_means_something(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("ProtectHostname", "ProtectHostnames"))
    assert "Unknown key" in analyze("verify", *units).stderr


@pytest.mark.parametrize("name", ["retrofit.service", "retrofit-scheduler.service"])
def test_units_expose_no_more_than_builds_need(units: list[Path], name: str) -> None:
    (unit,) = (path for path in units if path.name == name)
    words = ("security", "--offline=true", f"--threshold={EXPOSURE}", unit)
    said = analyze(*words)
    assert said.returncode == 0, said.stdout[-500:]
    for setting in ("NoNewPrivileges=true", "SystemCallFilter=@system-service @mount .*"):
        without, found = re.subn(f"^{setting}$", "", unit.read_text(), flags=re.MULTILINE)
        assert found == 1
        unit.write_text(without)
    assert analyze(*words).returncode != 0
