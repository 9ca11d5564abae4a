"""A configuration that others may write to names programs that run as root: it is not read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from retrofit.cloud.auth import _warn_of_readers, cloud_region
from retrofit.config import CloudSettings
from retrofit.errors import ConfigError
from scheduler.configuration import Configuration
from tests.hostile.command_line import CommandLine

NOBODY = 65534
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("mode", "owner", "group", "said"),
    [
        (0o646, 0, 0, "everybody may write to it"),
        (0o666, 0, 0, "everybody may write to it"),
        (0o600, NOBODY, 0, f"it belongs to user {NOBODY}"),
        (0o660, 0, NOBODY, f"group {NOBODY} may write to it"),
    ],
)
def test_a_file_that_others_may_change_is_refused(
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    owner: int,
    group: int,
    said: str,
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(command_line.config, owner, group)
    command_line.config.chmod(mode)
    outcome = command_line.give("config", "check")
    assert outcome.code == 2
    assert f"{command_line.config} is not trusted" in outcome.err
    assert said in outcome.err
    assert "hint: chown root:root" in outcome.err


def test_a_file_of_who_called_sudo_is_theirs_to_write(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    os.chown(command_line.config, NOBODY, 0)
    assert command_line.give("config", "check").code == 0


@pytest.fixture
def place(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the configuration lies in, nobody having called sudo."""
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    return command_line.config.parent


@pytest.mark.parametrize(
    ("mode", "owner", "group", "said"),
    [
        (0o777, 0, 0, "everybody may write to {}"),
        (0o755, NOBODY, 0, f"{{}} belongs to user {NOBODY}"),
        (0o1777, NOBODY, 0, f"{{}} belongs to user {NOBODY}"),
        (0o775, 0, NOBODY, f"group {NOBODY} may write to {{}}"),
    ],
)
def test_a_file_that_others_may_replace_is_refused(
    command_line: CommandLine, place: Path, mode: int, owner: int, group: int, said: str
) -> None:
    os.chown(place, owner, group)
    place.chmod(mode)
    outcome = command_line.give("config", "check")
    assert outcome.code == 2
    assert f"{command_line.config} is not trusted" in outcome.err
    assert said.format(f"directory {place} on its path") in outcome.err
    assert f"hint: chown root:root {place}; chmod go-w {place}" in outcome.err


def test_a_link_that_others_may_replace_is_refused(
    command_line: CommandLine, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whether the link lies there, or what it leads to."""
    aside = tmp_path_factory.mktemp("aside")
    (aside / "real.toml").write_text("")
    command_line.config.unlink()
    command_line.config.symlink_to(aside / "real.toml")
    assert command_line.give("config", "check").code == 0
    for directory in (place, aside):
        before = stat.S_IMODE(directory.stat().st_mode)
        directory.chmod(0o777)
        assert command_line.give("config", "check").code == 2
        directory.chmod(before)


def test_directories_of_who_called_sudo_and_shared_ones_are_trusted(
    command_line: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.chmod(0o1777)
    assert command_line.give("config", "check").code == 0
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    monkeypatch.setenv("SUDO_GID", str(NOBODY))
    os.chown(place, NOBODY, NOBODY)
    place.chmod(0o775)
    assert command_line.give("config", "check").code == 0


def test_the_worker_keeps_what_it_looked_at(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not write to the file might change it between two looks, if there were two."""
    (command_line.base / "state").mkdir()
    opened: list[str] = []
    real = Path.open

    def changing(self: Path, *given: Any, **named: Any) -> Any:
        if self == command_line.config:
            opened.append(str(self))
        return real(self, *given, **named)

    configuration = Configuration(command_line.config)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", changing)
        configuration.accept(configuration.read())
    assert opened == [str(command_line.config)]
    assert configuration.written().read_bytes() == command_line.config.read_bytes()


@pytest.mark.parametrize(
    "text",
    ["\0\0\0", "a = " + "[" * 5000, "a." * 5000 + "b = 1", "[paths]\nkeep_logs = " + "9" * 5000,
     "[build]\nformat = '\x1b'", "[target.'../../x']", "x = 1e999999999"],
    ids=["zeros", "deep", "dotted", "digits", "escape", "path", "huge"],
)  # fmt: skip
def test_a_file_of_nonsense_is_refused_with_a_message(command_line: CommandLine, text: str) -> None:
    command_line.config.write_text(text)
    outcome = command_line.give("config", "check")
    assert outcome.code == 2
    assert "error: " in outcome.err
    assert "\x1b" not in outcome.err


def test_directories_are_made_for_us_and_our_group(
    command_line: CommandLine, tmp_path: Path
) -> None:
    image = tmp_path / "none.img"
    image.write_text("none")
    assert command_line.build(image).code == 4
    assert command_line.give("run-once").code != 0
    made = [command_line.base / name for name in ("state", "cache", "work", "logs")]
    assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in made] == [oct(0o750)] * 4


@pytest.mark.parametrize(("mode", "warns"), [(0o644, True), (0o640, False), (0o600, False)])
def test_credentials_that_everybody_can_read_are_warned_of(
    tmp_path: Path, mode: int, warns: bool
) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {}\n")
    file.chmod(mode)
    with structlog.testing.capture_logs() as told:
        _warn_of_readers(str(file))
    assert [event["event"] for event in told] == (
        ["cloud credentials are readable by every user"] if warns else []
    )


CLOUD = """clouds:
  production:
    auth: {auth_url: "http://127.0.0.1:9/v3", username: u, password: p, project_name: p}
"""
EVIL = """clouds:
  production:
    auth: {auth_url: "http://evil.example/v3"}
"""
SHOW = """
from pathlib import Path
from retrofit.cloud.auth import cloud_region
from retrofit.config import CloudSettings
named = Path("theirs/clouds.yaml").absolute()
settings = CloudSettings(name="production", clouds_yaml=named if named.exists() else None)
print(cloud_region(settings).get_auth_args()["auth_url"])
"""


@pytest.mark.parametrize("planted", ["secure.yaml", "secure.json", "clouds-public.yaml"])
def test_what_lies_in_the_working_directory_is_not_obeyed(tmp_path: Path, planted: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "clouds.yaml").write_text(CLOUD)
    (tmp_path / planted).write_text(EVIL)
    assert shown(tmp_path) == "http://127.0.0.1:9/v3"
    # It is read where it belongs, or this test could not fail.
    if planted == "secure.yaml":
        (tmp_path / planted).rename(tmp_path / "theirs" / planted)
        assert shown(tmp_path) == "http://evil.example/v3"


def test_no_cloud_comes_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(CLOUD)
    assert "cloud production was not found" in shown(tmp_path).lower()


def shown(directory: Path) -> str:
    """Return the last line that a process says which starts in a directory."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (ended.stdout or ended.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["clouds.yaml", "secure.yaml"])
def test_credentials_that_others_may_change_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    named = tmp_path / "clouds.yaml"
    named.write_text(CLOUD)
    (tmp_path / name).write_text(CLOUD)
    settings = CloudSettings(name="production", clouds_yaml=named)
    cloud_region(settings)
    os.chown(tmp_path / name, NOBODY, 0)
    with pytest.raises(ConfigError, match=f"{name} is not trusted"):
        cloud_region(settings)
