"""What every test of hostile input may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.component import disks
from tests.devcloud.files import copy
from tests.hostile.command_line import command_line
from tests.hostile.disks import SIZE
from tests.hostile.protected_directory import protected_directory

__all__ = ["command_line", "protected_directory", "source", "stock"]


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a sound disk, small and laid out like Ubuntu's; never written to."""
    return disks.jammy(tmp_path_factory.mktemp("stock") / "stock.img", size=SIZE)


@pytest.fixture
def source(stock: Path, tmp_path: Path) -> Path:
    """Copy the sound disk, for a test to do with as it likes."""
    sound = tmp_path / "source.img"
    copy(stock, sound)
    return sound
