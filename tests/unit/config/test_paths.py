"""Each of `paths.*` is a directory of its own: not the system's, and not in another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from retrofit.config import PathSettings
from retrofit.config.file import parse
from retrofit.errors import ConfigError

NAMES = ("state", "cache", "work", "logs")


def settings(tmp_path: Path, **paths: Path | str) -> PathSettings:
    return PathSettings.model_validate({name: tmp_path / name for name in NAMES} | paths)


def test_the_defaults_and_work_in_state_are_fine(tmp_path: Path) -> None:
    PathSettings()
    settings(tmp_path, work=tmp_path / "state" / "deep" / "work")


@pytest.mark.parametrize(
    "path",
    ["/", "/var", "/var/lib", "/var/log", "/tmp/../tmp", "/etc", "/home", "/proc/self", "/dev",
     "/sys/fs", "/boot/retrofit", "//", "/dev/shm"],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_directories_of_the_system_are_refused(name: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="directory of the system"):
        settings(tmp_path, **{name: path})


def test_a_link_to_a_directory_of_the_system_is_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/var/lib")
    with pytest.raises(ValidationError, match="/var/lib is a directory of the system"):
        settings(tmp_path, cache=tmp_path / "link")


@pytest.mark.parametrize("one", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_equal_and_nested_directories_are_refused(one: str, other: str, tmp_path: Path) -> None:
    if one == other:
        return
    with pytest.raises(ValidationError, match="are the same directory"):
        settings(tmp_path, **{one: tmp_path / other})
    nested = {one: tmp_path / other / "deep"}
    if (one, other) == ("work", "state"):
        settings(tmp_path, **nested)
    else:
        with pytest.raises(ValidationError, match=rf"{one} .* lies in {other}"):
            settings(tmp_path, **nested)


def test_links_do_not_hide_that_two_are_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    with pytest.raises(ValidationError, match="are the same directory"):
        settings(tmp_path, logs=tmp_path / "link")


def test_the_message_names_the_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"paths: state and logs are the same directory"):
        parse(f'[paths]\nstate = "{tmp_path}/a"\nlogs = "{tmp_path}/a"\n'.encode(), None)
    with pytest.raises(ConfigError, match=r"paths\.work: / is a directory of the system"):
        parse(b'[paths]\nwork = "/"\n', None)
