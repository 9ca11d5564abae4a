"""Files beside those of others: what they lead to, and turn into between two looks."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import SourceError
from retrofit.operations import build_file, verify_image
from retrofit.system import process, untrusted_files
from retrofit.system.untrusted_files import copy_in, move_out
from tests.component import disks
from tests.component.disks import MIB
from tests.hostile.command_line import CommandLine
from tests.hostile.protected_directory import assert_untouched
from tests.integration.fake_disk_image_create import FakeDiskImageCreate, fake_disk_image_create

SETTINGS = '[build]\nfree_space = 64\n[verify]\nlevel = "offline"\n'


@pytest.fixture
def tool(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeDiskImageCreate:
    made = fake_disk_image_create(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.python))
    command_line.configure(SETTINGS)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return disks.jammy(tmp_path / "stock.img", size=256 * MIB)


@pytest.fixture
def lure(protected_directory: Path, tmp_path: Path) -> Path:
    """A disk whose content is that of another file, when QEMU is let."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"secret".ljust(MIB, b"\0"))
    disk = tmp_path / "lure.qcow2"
    disks.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk)
    return disk


def test_links_beside_the_output_are_not_followed(
    command_line: CommandLine, tool: FakeDiskImageCreate, source: Path, protected_directory: Path
) -> None:
    command_line.output.parent.mkdir()
    for ending in (".part", ".log", ".log.partial", ".manifest"):
        command_line.output.with_name(command_line.output.name + ending).symlink_to(
            protected_directory / "file"
        )
    # What it leads to is not there: there seems to be no output yet.
    command_line.output.symlink_to(protected_directory / "new")
    outcome = command_line.build(source)
    assert outcome.code == 0, outcome.err
    assert_untouched(protected_directory)
    assert not command_line.output.is_symlink()
    assert "file format: qcow2" in disks.run("qemu-img", "info", command_line.output)
    manifest = command_line.output.with_name(f"{command_line.output.name}.manifest")
    assert (manifest.is_symlink(), manifest.read_text()) == (False, "packages\n")


def test_nor_are_they_by_the_log_of_a_failure(
    command_line: CommandLine, tool: FakeDiskImageCreate, source: Path, protected_directory: Path
) -> None:
    tool.behaves("echo 'E: it fails'; exit 1")
    command_line.output.parent.mkdir()
    log_file = command_line.output.with_name(f"{command_line.output.name}.log")
    log_file.symlink_to(protected_directory / "file")
    outcome = command_line.build(source)
    assert outcome.code == 5
    assert str(log_file) in outcome.err.replace("\n", "")
    assert_untouched(protected_directory)
    assert not log_file.is_symlink()
    assert "E: it fails" in log_file.read_text()
    command_line.assert_nothing_left()


def before(take: Callable[..., None], act: Callable[[], object]) -> Callable[..., None]:
    def take_late(source: Path, target: Path) -> None:
        act()
        take(source, target)

    return take_late


def test_what_a_source_turns_into_after_the_first_look_is_looked_at_again(
    command_line: CommandLine,
    tool: FakeDiskImageCreate,
    source: Path,
    lure: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build_file, "copy_in", before(copy_in, lambda: lure.rename(source)))
    outcome = command_line.build(source)
    assert outcome.code == 4
    assert "is refused: " in outcome.err
    assert not (tool.record / "running").exists()
    command_line.assert_nothing_left()


def test_what_it_turns_into_while_it_is_built_from_does_not_matter(
    command_line: CommandLine,
    tool: FakeDiskImageCreate,
    source: Path,
    lure: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def take_and_swap(given: Path, target: Path) -> None:
        copy_in(given, target)
        lure.rename(given)

    monkeypatch.setattr(build_file, "copy_in", take_and_swap)
    outcome = command_line.build(source)
    assert outcome.code == 0, outcome.err
    assert "virtual size: 256 MiB" in disks.run("qemu-img", "info", command_line.output)


def test_an_image_to_verify_is_looked_at_again_too(
    command_line: CommandLine, source: Path, lure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command_line.configure(SETTINGS)
    monkeypatch.setattr(verify_image, "copy_in", before(copy_in, lambda: lure.rename(source)))
    outcome = command_line.give("verify", source)
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
        copy_in(source, copy)
        assert copy.stat().st_size == 1 << 30
        assert copy.stat().st_blocks * 512 < MIB
        # As cmp does, and without reading what is a hole in both.
        disks.run("qemu-img", "compare", "-f", "raw", "-F", "raw", source, copy)

    @pytest.mark.parametrize("size", [0, 1, 9 * MIB + 7])
    def test_nothing_is_lost(self, tmp_path: Path, size: int) -> None:
        source, copy = tmp_path / "source", tmp_path / "copy"
        source.write_bytes(os.urandom(size))
        copy_in(source, copy)
        assert copy.read_bytes() == source.read_bytes()

    def test_what_the_name_leads_to_after_it_was_opened_is_not_copied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, other, copy = tmp_path / "source", tmp_path / "other", tmp_path / "copy"
        source.write_bytes(b"what was opened")
        other.write_bytes(b"what took its place")

        def run_late(*args: Any, **options: Any) -> Any:
            other.rename(source)
            return process.run(*args, **options)

        monkeypatch.setattr(untrusted_files, "run", run_late)
        copy_in(source, copy)
        assert copy.read_bytes() == b"what was opened"

    def test_a_copy_without_room_is_no_fault_of_the_source(self, tmp_path: Path) -> None:
        full = tmp_path / "full"
        full.mkdir()
        disks.run("mount", "-t", "tmpfs", "-o", "size=1m", "full", full)
        try:
            (tmp_path / "source").write_bytes(os.urandom(2 * MIB))
            with pytest.raises(OSError, match="No space left") as raised:
                copy_in(tmp_path / "source", full / "copy")
            assert raised.value.errno == errno.ENOSPC
        finally:
            disks.run("umount", full)

    def test_a_file_that_is_there_is_not_written_over(self, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(b"new")
        (tmp_path / "copy").write_bytes(b"old")
        with pytest.raises(SourceError):
            copy_in(tmp_path / "source", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"old"

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SourceError, match="is not a file"):
            copy_in(tmp_path / "fifo", tmp_path / "copy")

    def test_what_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"cannot read .*/none: No such file"):
            copy_in(tmp_path / "none", tmp_path / "copy")


class TestPuttingOut:
    def test_across_filesystems(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        disks.run("mount", "-t", "tmpfs", "-o", "size=8m", "other", other)
        try:
            (tmp_path / "source").write_bytes(bytes(MIB))
            move_out(tmp_path / "source", other / "target")
            assert (other / "target").read_bytes() == bytes(MIB)
            (tmp_path / "large").write_bytes(bytes(9 * MIB))
            with pytest.raises(OSError, match="No space left"):
                move_out(tmp_path / "large", other / "large")
            assert [path.name for path in other.iterdir()] == ["target"]
        finally:
            disks.run("umount", other)
