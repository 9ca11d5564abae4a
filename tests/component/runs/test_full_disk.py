"""Directories of ours on a disk that has no room, as the operator is told of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.config import LockSettings, PathSettings
from retrofit.errors import ConfigError
from retrofit.lock.lock import held
from retrofit.runs.own_paths import claim_state

pytestmark = pytest.mark.root


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with a directory of locks, and without room for one more file or directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "full", tmp_path], check=True)
    (tmp_path / "locks").mkdir()
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_state_directory_without_room_is_told_as_such(full: Path) -> None:
    paths = PathSettings.model_validate({"state": full / "state"})
    with pytest.raises(ConfigError, match="No space left") as told:
        claim_state(paths)
    assert told.value.hint is not None
    assert "free some" in told.value.hint


def test_a_lock_without_room_is_told_as_such(full: Path) -> None:
    settings = LockSettings()
    with pytest.raises(ConfigError, match="No space left") as told, held(settings, full, "default"):
        pass
    assert told.value.hint is not None
    assert "free some" in told.value.hint
