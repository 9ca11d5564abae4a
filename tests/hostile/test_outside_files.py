"""Files beside those of others: what they lead to, and turn into between two looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retrofit import local_build, local_verify
from retrofit.errors import SourceError
from retrofit.outside_files import put_out, take_in
from tests.hostile.door import Door
from tests.hostile.victim import assert_untouched
from tests.integration.stand_in import StandIn, stand_in
from tests.unit import disks
from tests.unit.disks import MIB

SETTINGS = '[build]\nfree_space = 64\n[verify]\nlevel = "offline"\n'


@pytest.fixture
def tool(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = stand_in(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.python))
    door.configure(SETTINGS)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return disks.jammy(tmp_path / "stock.img", size=256 * MIB)


@pytest.fixture
def lure(victim: Path, tmp_path: Path) -> Path:
    """A disk whose content is that of another file, when QEMU is let."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"secret".ljust(MIB, b"\0"))
    disk = tmp_path / "lure.qcow2"
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk)
    return disk


def test_links_beside_the_output_are_not_followed(
    door: Door, tool: StandIn, source: Path, victim: Path
) -> None:
    door.output.parent.mkdir()
    for ending in (".part", ".log", ".log.partial", ".manifest"):
        door.output.with_name(door.output.name + ending).symlink_to(victim / "file")
    # What it leads to is not there: there seems to be no output yet.
    door.output.symlink_to(victim / "new")
    outcome = door.build(source)
    assert outcome.code == 0, outcome.err
    assert_untouched(victim)
    assert not door.output.is_symlink()
    assert "file format: qcow2" in disks.run("qemu-img", "info", door.output)
    manifest = door.output.with_name(f"{door.output.name}.manifest")
    assert (manifest.is_symlink(), manifest.read_text()) == (False, "packages\n")


def test_nor_are_they_by_the_log_of_a_failure(
    door: Door, tool: StandIn, source: Path, victim: Path
) -> None:
    tool.behaves("echo 'E: it fails'; exit 1")
    door.output.parent.mkdir()
    log_file = door.output.with_name(f"{door.output.name}.log")
    log_file.symlink_to(victim / "file")
    outcome = door.build(source)
    assert outcome.code == 5
    assert str(log_file) in outcome.err.replace("\n", "")
    assert_untouched(victim)
    assert not log_file.is_symlink()
    assert "E: it fails" in log_file.read_text()
    door.assert_nothing_left()


def before(take: Callable[..., None], act: Callable[[], object]) -> Callable[..., None]:
    def take_late(source: Path, target: Path) -> None:
        act()
        take(source, target)

    return take_late


def test_what_a_source_turns_into_after_the_first_look_is_looked_at_again(
    door: Door, tool: StandIn, source: Path, lure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_build, "take_in", before(take_in, lambda: lure.rename(source)))
    outcome = door.build(source)
    assert outcome.code == 4
    assert "is refused: " in outcome.err
    assert not (tool.record / "running").exists()
    door.assert_nothing_left()


def test_what_it_turns_into_while_it_is_built_from_does_not_matter(
    door: Door, tool: StandIn, source: Path, lure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_and_swap(given: Path, target: Path) -> None:
        take_in(given, target)
        lure.rename(given)

    monkeypatch.setattr(local_build, "take_in", take_and_swap)
    outcome = door.build(source)
    assert outcome.code == 0, outcome.err
    assert "virtual size: 256 MiB" in disks.run("qemu-img", "info", door.output)


def test_an_image_to_verify_is_looked_at_again_too(
    door: Door, source: Path, lure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.configure(SETTINGS)
    monkeypatch.setattr(local_verify, "take_in", before(take_in, lambda: lure.rename(source)))
    outcome = door.give("verify", source)
    assert outcome.code == 4
    assert "is refused: " in outcome.err
    assert not any(word == "convert" for argv in outcome.started for word in argv)


class TestTakingIn:
    def test_holes_stay_holes(self, tmp_path: Path) -> None:
        source, copy = tmp_path / "source", tmp_path / "copy"
        with source.open("wb") as file:
            file.write(b"begin")
            file.seek(300 * MIB)
            file.write(b"middle")
            file.truncate(1 << 30)
        take_in(source, copy)
        assert copy.stat().st_size == 1 << 30
        assert copy.stat().st_blocks * 512 < MIB
        disks.run("cmp", source, copy)

    @pytest.mark.parametrize("size", [0, 1, 9 * MIB + 7])
    def test_nothing_is_lost(self, tmp_path: Path, size: int) -> None:
        source, copy = tmp_path / "source", tmp_path / "copy"
        source.write_bytes(os.urandom(size))
        take_in(source, copy)
        assert copy.read_bytes() == source.read_bytes()

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SourceError, match="is not a file"):
            take_in(tmp_path / "fifo", tmp_path / "copy")

    def test_what_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"cannot read .*/none: No such file"):
            take_in(tmp_path / "none", tmp_path / "copy")


class TestPuttingOut:
    def test_across_filesystems(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        disks.run("mount", "-t", "tmpfs", "-o", "size=8m", "other", other)
        try:
            (tmp_path / "source").write_bytes(bytes(MIB))
            put_out(tmp_path / "source", other / "target")
            assert (other / "target").read_bytes() == bytes(MIB)
            (tmp_path / "large").write_bytes(bytes(9 * MIB))
            with pytest.raises(OSError, match="No space left"):
                put_out(tmp_path / "large", other / "large")
            assert [path.name for path in other.iterdir()] == ["target"]
        finally:
            disks.run("umount", other)
