from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.dib import package_cache as module
from retrofit.dib.package_cache import package_cache


def test_one_build_has_the_shared_cache_and_the_next_its_own(tmp_path: Path) -> None:
    shared, private = tmp_path / "cache", tmp_path / "build" / "cache"
    with package_cache(shared, private) as first, package_cache(shared, private) as second:
        assert (first, second) == (shared, private)
    with package_cache(shared, private) as later:
        assert later == shared


def test_what_was_kept_longest_goes_when_there_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 250)
    packages = tmp_path / "dib" / "apt" / "ubuntu"
    packages.mkdir(parents=True)
    for number in range(4):
        path = packages / f"package-{number}.deb"
        path.write_bytes(bytes(100))
        # The archive's time, which says nothing about the download.
        os.utime(path, (1_000_000 - number, 1_000_000 - number))
        while _same(packages, number):
            os.utime(path, (1_000_000 - number, 1_000_000 - number))
    with package_cache(tmp_path, tmp_path / "own"):
        assert sorted(path.name for path in packages.iterdir()) == [
            "package-2.deb",
            "package-3.deb",
        ]


def test_python_packages_are_dropped_together_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PYTHON_LIMIT", 250)
    wheels = tmp_path / "uv" / "wheels" / "v5"
    wheels.mkdir(parents=True)
    for number in range(3):
        with package_cache(tmp_path, tmp_path / "own"):
            assert len(list(wheels.iterdir())) == number
        (wheels / f"wheel-{number}").write_bytes(bytes(100))
    with package_cache(tmp_path, tmp_path / "own"):
        assert not (tmp_path / "uv").exists()
    with package_cache(tmp_path, tmp_path / "own"):
        assert not (tmp_path / "uv").exists()


def _same(packages: Path, number: int) -> bool:
    """Whether the clock of the filesystem has not moved on since the package before."""
    if number == 0:
        return False
    times = [(packages / f"package-{n}.deb").lstat().st_ctime_ns for n in (number - 1, number)]
    return times[0] >= times[1]
