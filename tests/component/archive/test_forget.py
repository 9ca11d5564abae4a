"""What checks left in the cache goes with the targets that it is of, and nothing else does."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from retrofit.archive.forget import UNUSED_FOR, forget_evidence, forget_roots
from retrofit.config import FreshnessSettings, PathSettings, Settings, Target
from retrofit.observe.freshness import forget_unneeded
from tests.archive.packages import Package
from tests.archive.small_archive import SmallArchive
from tests.component.archive.conftest import Checks

OPENSSL = Package(name="libssl3", version="1")


@pytest.fixture
def roots(tmp_path: Path, archive: SmallArchive) -> Path:
    """The private roots of two targets, as checks leave them."""
    archive.add("noble", OPENSSL)
    for name in ("one", "two"):
        Checks(tmp_path / "cache/archive" / name)(archive.evidence(OPENSSL))
    return tmp_path / "cache/archive"


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_roots_of_other_targets_go(roots: Path) -> None:
    assert forget_roots(roots, ["one", "two", "three"]) == ()
    assert forget_roots(roots, ["one"]) == ("two",)
    assert names(roots) == ["one"]
    assert forget_roots(roots / "nothing", []) == ()


def test_a_root_in_use_stays_until_it_is_not(roots: Path) -> None:
    with (roots / "two/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert forget_roots(roots, ["one"]) == ()
    assert forget_roots(roots, ["one"]) == ("two",)


def test_what_is_no_root_of_ours_stays(roots: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ".lock").touch()
    (other / "precious").touch()
    (roots / "link").symlink_to(other)
    (roots / "file").touch()
    (roots / "without-lock").mkdir()
    (roots / "lock-is-a-link").mkdir()
    (roots / "lock-is-a-link/.lock").symlink_to(other / "precious")
    (roots / "lock-is-a-pipe").mkdir()
    os.mkfifo(roots / "lock-is-a-pipe/.lock")
    assert forget_roots(roots, []) == ("one", "two")
    assert names(roots) == ["file", "link", "lock-is-a-link", "lock-is-a-pipe", "without-lock"]
    assert names(other) == [".lock", "precious"]


@pytest.mark.root
def test_a_root_of_another_user_stays(roots: Path) -> None:
    os.chown(roots / "two", 4242, 4242)
    assert forget_roots(roots, ["one"]) == ()


def test_links_in_a_root_lead_nowhere(roots: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (roots / "two/lists/link").symlink_to(tmp_path / "precious")
    assert forget_roots(roots, ["one"]) == ("two",)
    assert names(tmp_path / "precious") == ["file"]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that cannot be removed."""
    found: set[str] = set()
    unlink = os.unlink

    def refuse(path: str | os.PathLike[str], **options: int | None) -> None:
        if Path(path).name in found:
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    return found


@pytest.mark.parametrize("where", ["apt.conf", "etc/apt/stuck"])
def test_what_cannot_be_removed_of_a_root_is_tried_again(
    roots: Path, stuck: set[str], where: str
) -> None:
    (roots / "one" / where).touch()
    (roots / "one/zz").touch()
    stuck.add(Path(where).name)
    assert forget_roots(roots, ["two"]) == ()
    assert names(roots / "one") == sorted([".lock", where.partition("/")[0]])
    stuck.clear()
    assert forget_roots(roots, ["two"]) == ("one",)


def test_one_root_that_cannot_be_removed_keeps_no_other(roots: Path, stuck: set[str]) -> None:
    (roots / "one/stuck").touch()
    stuck.add("stuck")
    assert forget_roots(roots, []) == ("two",)


def test_one_copy_that_cannot_be_removed_keeps_no_other(tmp_path: Path, stuck: set[str]) -> None:
    for name in ("a.tar.xz", "b.tar.xz"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    stuck.add("a.tar.xz")
    forget_evidence(tmp_path)
    assert names(tmp_path) == ["a.tar.xz"]


def test_copies_of_evidence_go_where_nobody_used_them(tmp_path: Path) -> None:
    old = time.time() - UNUSED_FOR.total_seconds() - 60
    for name, when in (("old.tar.xz", old), ("new.tar.xz", old + 120), ("other", old)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (when, when))
    (tmp_path / "directory.tar.xz").mkdir()
    os.utime(tmp_path / "directory.tar.xz", (old, old))
    forget_evidence(tmp_path)
    assert names(tmp_path) == ["directory.tar.xz", "new.tar.xz", "other"]


def test_a_configuration_decides_what_is_needed(roots: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("state", "cache", "work", "logs")}
    off = Target(name="two", freshness=FreshnessSettings(check=False))
    for second, left in ((Target(name="two"), ["one", "two"]), (off, ["one"])):
        targets = (Target(name="one"), second)
        forget_unneeded(Settings(targets=targets, paths=PathSettings(**paths)))
        assert names(roots) == left
