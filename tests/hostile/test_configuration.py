"""A configuration that others may write to names programs that run as root: it is not read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import structlog

from retrofit.cloud.config import _warn_of_readers
from tests.hostile.door import Door

NOBODY = 65534


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
    door: Door, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, group: int, said: str
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(door.config, owner, group)
    door.config.chmod(mode)
    outcome = door.give("config", "check")
    assert outcome.code == 2
    assert f"{door.config} is not trusted" in outcome.err
    assert said in outcome.err
    assert "hint: chown root:root" in outcome.err


def test_a_file_of_who_called_sudo_is_theirs_to_write(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    os.chown(door.config, NOBODY, 0)
    assert door.give("config", "check").code == 0


@pytest.mark.parametrize(
    "text",
    ["\0\0\0", "a = " + "[" * 5000, "a." * 5000 + "b = 1", "[paths]\nkeep_logs = " + "9" * 5000,
     "[build]\nformat = '\x1b'", "[target.'../../x']", "x = 1e999999999"],
    ids=["zeros", "deep", "dotted", "digits", "escape", "path", "huge"],
)  # fmt: skip
def test_a_file_of_nonsense_is_refused_with_a_message(door: Door, text: str) -> None:
    door.config.write_text(text)
    outcome = door.give("config", "check")
    assert outcome.code == 2
    assert "error: " in outcome.err
    assert "\x1b" not in outcome.err


def test_directories_are_made_for_us_and_our_group(door: Door, tmp_path: Path) -> None:
    image = tmp_path / "none.img"
    image.write_text("none")
    assert door.build(image).code == 4
    assert door.give("run-once").code != 0
    made = [door.base / name for name in ("state", "cache", "work", "logs")]
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
        ["everybody can read the cloud's credentials"] if warns else []
    )
