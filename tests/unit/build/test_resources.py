"""A build reserves what the disk of its source has, not what its compressed file has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retrofit.build import build, needs
from retrofit.config import BuildSettings
from retrofit.disk import qemu_img
from retrofit.errors import BuildError

GIB = 1 << 30


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a few bytes, whose disk has three GiB of data."""
    monkeypatch.setattr(qemu_img, "measure", lambda *_: 3 * GIB)
    path = tmp_path / "source.qcow2"
    path.write_bytes(b"QFI\xfb")
    return path


def context(directory: Path, reserve: Any) -> Any:
    return SimpleNamespace(
        settings=BuildSettings(), reserve=reserve, paths=SimpleNamespace(directory=directory)
    )


@pytest.mark.parametrize("tmpfs", [True, False])
def test_the_measured_size_is_reserved(source: Path, tmpfs: bool) -> None:
    asked: list[needs.Needs] = []

    def reserve(wanted: needs.Needs) -> bool:
        asked.append(wanted)
        return tmpfs

    assert build._check_resources(context(source.parent, reserve), source, "qcow2") is tmpfs
    assert asked == [needs.Needs(disk=(3 + 3 + 3) * GIB, tmpfs=(3 + 3) * GIB)]


def test_a_build_without_reservations_asks_the_machine(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "choose_tmpfs", lambda *_, **__: True)
    monkeypatch.setattr(build.os, "statvfs", lambda _: SimpleNamespace(
        f_bavail=9 * GIB - 1, f_frsize=1, f_files=0, f_favail=0))  # fmt: skip
    with pytest.raises(BuildError, match=r"this build needs 9\.0 GiB"):
        build._check_resources(context(source.parent, None), source, "qcow2")
