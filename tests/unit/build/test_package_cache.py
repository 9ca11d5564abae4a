from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.build import package_cache as module
from retrofit.build.package_cache import LENT, keep_packages, lend_packages

ONE, TWO = "haproxy_2.6.12-1+deb12u2_amd64.deb", "bind9-host_1%3a9.18.41-1~deb12u1_amd64.deb"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "packages" / "debian-bookworm-amd64"


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return tmp_path / "build" / "apt" / "debian"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_one_build_downloads_is_lent_to_the_next(kept: Path, archives: Path) -> None:
    assert lend_packages(kept, archives) == {}
    for name in (ONE, TWO):
        (archives / name).write_text(name)
    keep_packages(archives, kept, {})
    assert names(kept) == sorted((ONE, TWO))
    again = archives.with_name("again")
    assert set(lend_packages(kept, again)) == {ONE, TWO}
    assert names(again) == [LENT], "apt takes nothing that nobody compared"
    assert (again / LENT / TWO).read_text() == TWO


def test_what_a_build_writes_into_what_it_was_lent_reaches_nobody(
    kept: Path, archives: Path
) -> None:
    kept.mkdir(parents=True)
    (kept / ONE).write_text("genuine")
    lent = lend_packages(kept, archives)
    (archives / LENT / ONE).write_text("poison!")
    keep_packages(archives, kept, lent)
    assert (kept / ONE).read_text() == "genuine"


def test_a_download_takes_the_place_of_what_was_not_taken(kept: Path, archives: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ONE).write_text("poison!")
    lent = lend_packages(kept, archives)
    (archives / ONE).write_text("genuine")
    keep_packages(archives, kept, lent)
    assert (kept / ONE).read_text() == "genuine"


def test_what_was_taken_is_not_copied_back(kept: Path, archives: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ONE).write_text("genuine")
    before = (kept / ONE).stat().st_ino
    lent = lend_packages(kept, archives)
    (archives / LENT / ONE).rename(archives / ONE)
    keep_packages(archives, kept, lent)
    assert (kept / ONE).stat().st_ino == before


def test_only_packages_are_kept(kept: Path, archives: Path, tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    lend_packages(kept, archives)
    (archives / ONE).symlink_to(secret)
    os.mkfifo(archives / TWO)
    (archives / "a_1_all.deb").mkdir()
    for name in ("lock", "-rf_1_all.deb", "a_1_all.deb\n", "a b_1_all.deb", "a_1_all.deb.part"):
        (archives / name).write_text("x")
    with (archives / "huge_1_all.deb").open("wb") as huge:
        huge.truncate(1 << 40)
    (archives / "good_1_all.deb").write_text("x")
    keep_packages(archives, kept, {})
    assert names(kept) == ["good_1_all.deb"]


def test_what_was_kept_longest_goes_when_there_is_too_much(
    kept: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 250)
    other = kept.with_name("ubuntu-noble-amd64")
    other.mkdir(parents=True)
    lend_packages(kept, archives)
    for number in range(2):
        path = other / f"package_{number}_all.deb"
        path.write_bytes(bytes(100))
        # The archive's time, which says nothing about the download.
        os.utime(path, (1_000_000 - number, 1_000_000 - number))
        while _same(other, number):
            os.utime(path, (1_000_000 - number, 1_000_000 - number))
    (archives / ONE).write_bytes(bytes(100))
    _pass_time(other / "package_1_all.deb")
    keep_packages(archives, kept, {})
    assert (names(other), names(kept)) == (["package_1_all.deb"], [ONE])


def test_many_small_ones_are_too_many(
    kept: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    for turn in range(3):
        lend_packages(kept, archives.with_name(str(turn)))
        for number in range(10):
            (archives.with_name(str(turn)) / f"a{turn}_{number}_all.deb").touch()
        keep_packages(archives.with_name(str(turn)), kept, {})
        assert len(names(kept)) == 5


def test_a_cache_that_cannot_be_used_stops_no_build(tmp_path: Path, archives: Path) -> None:
    (tmp_path / "file").touch()
    lend_packages(tmp_path / "file" / "packages", archives)
    (archives / ONE).touch()
    keep_packages(archives, tmp_path / "file" / "packages", {})


def test_files_of_others_beside_the_packages_are_never_pruned(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = (kept / "2026.pdf", kept / "notes.deb", kept.with_name("other") / "file")
    for path in foreign:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("paid")
    (kept / ONE).write_text("a package")
    monkeypatch.setattr(module, "MOST", 0)
    keep_packages(kept.with_name("none"), kept, {})
    assert all(path.exists() for path in foreign)
    assert not (kept / ONE).exists()


def _same(packages: Path, number: int) -> bool:
    """Whether the clock of the filesystem has not moved on since the package before."""
    if number == 0:
        return False
    times = [(packages / f"package_{n}_all.deb").lstat().st_ctime_ns for n in (number - 1, number)]
    return times[0] >= times[1]


def _pass_time(path: Path) -> None:
    """Wait until what is made now is newer than `path`, by the filesystem's clock."""
    probe = path.with_name("probe")
    probe.touch()
    while probe.lstat().st_ctime_ns <= path.lstat().st_ctime_ns:
        probe.touch()
    probe.unlink()
