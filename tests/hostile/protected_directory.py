"""A directory of the host that nothing may touch."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def protected_directory(tmp_path: Path) -> Path:
    """A directory with one file in it."""
    directory = tmp_path / "protected_directory"
    directory.mkdir()
    (directory / "file").write_text("precious")
    return directory


def assert_untouched(protected_directory: Path) -> None:
    """See that it holds what it held."""
    assert [path.name for path in protected_directory.iterdir()] == ["file"]
    assert (protected_directory / "file").read_text() == "precious"
