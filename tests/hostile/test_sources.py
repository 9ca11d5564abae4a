"""A hostile source is refused with a reason, before anything mounts it or runs what is in it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from retrofit.build.handover import SUDO
from retrofit.system.sandbox import SANDBOX
from tests.component import disks
from tests.component.disks import MIB
from tests.hostile import disks as hostile
from tests.hostile.command_line import COPY, MAY_WE_MOUNT, READERS, CommandLine
from tests.hostile.disks import (
    CURRENT,
    ENTRIES,
    ENTRIES_AT,
    ENTRY_SIZE,
    FIRST,
    FIRST_USABLE,
    HEADER_SIZE,
    LAST,
    LAST_USABLE,
    ROOT_AT,
    debugfs,
    os_release,
    poke,
    set_entry,
    set_header,
    truncate,
)

SUDO_TRIED = "DIB_RETROFIT_TRIED=arrived"
"""A word of the command by which a build asks whether sudo hands its settings on."""
OF_OURS = (SUDO_TRIED, str(SUDO))
"""Words of commands that are about the build's own sudo, and read nothing of a source."""
SECTORS = hostile.SIZE // 512
GIB = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hostile source: how it is made of a stock disk, and what is said of it."""

    name: str
    make: Callable[[Path], object]
    says: str
    code: int = 4


def qemu_img(*options: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.unlink()
        disks.run("qemu-img", "create", "-q", *options[:-1], path, options[-1])

    return make


def as_qcow2(change: Callable[[Path], object], *options: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        raw = path.rename(path.with_suffix(".raw"))
        disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path)
        change(path)

    return make


def content(data: bytes, size: int = 0) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        truncate(path, max(size, len(data)))

    return make


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def header(at: int, form: str, value: int) -> Callable[[Path], object]:
    return lambda path: poke(path, at, struct.pack(form, value))


def on_root(*requests: str) -> Callable[[Path], object]:
    return lambda path: debugfs(path, *requests)


def says(text: str) -> Callable[[Path], object]:
    return lambda path: os_release(path, text.encode())


def external_journal(path: Path) -> None:
    device = f"{path}?offset={ROOT_AT}"
    subprocess.run(["tune2fs", "-O", "^has_journal", device], check=True, capture_output=True)
    uuid = "12345678-1234-4321-8765-123456789abc"
    debugfs(path, "feature has_journal", "ssv journal_inum 0", f"ssv journal_uuid {uuid}")


FORMATS = (
    *(
        Case(name=name, make=qemu_img("-f", name, "16M"), says="which is not supported")
        for name in ("vmdk", "vdi", "vhdx", "vpc", "qed")
    ),
    Case(
        name="luks",
        make=content(b"LUKS\xba\xbe\0\1" + b"aes".ljust(32, b"\0") + bytes(552), 2 * MIB),
        says="which is not supported",
    ),
    Case(
        name="iso",
        make=content(bytes(0x8001) + b"CD001\1" + bytes(2 * MIB)),
        says="which is not supported",
    ),
    Case(
        name="backing file",
        make=qemu_img("-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", "16M"),
        says="Image has a backing file",
    ),
    Case(
        name="backing file by json",
        make=qemu_img(
            *("-f", "qcow2", "-u", "-F", "raw"),
            *("-b", 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}'),
            "16M",
        ),
        says="Image has a backing file",
    ),
    Case(
        name="data file",
        make=as_qcow2(header(72, ">Q", 1 << 2)),
        says="Image has data_file set",
    ),
    Case(
        name="unknown feature",
        make=as_qcow2(header(72, ">Q", 1 << 40)),
        says="Unknown QCOW2 features",
    ),
    Case(name="encrypted with AES", make=as_qcow2(header(32, ">I", 1)), says="encrypted"),
    Case(name="encrypted with LUKS", make=as_qcow2(header(32, ">I", 2)), says="encrypted"),
    Case(
        name="internal snapshots",
        make=as_qcow2(lambda path: disks.run("qemu-img", "snapshot", "-c", "a", path)),
        says="internal snapshots",
    ),
    Case(name="qcow2 of 8 EiB", make=as_qcow2(header(24, ">Q", 1 << 63)), says="more than 256 GiB"),
    Case(name="qcow2 of 64 TiB", make=qemu_img("-f", "qcow2", "64T"), says="more than 256 GiB"),
    Case(name="raw of 8 TiB", make=lambda path: truncate(path, 8 << 40), says="more than 256 GiB"),
    Case(name="qcow of version 1", make=content(b"QFI\xfb\0\0\0\1", 4 * MIB), says="refused|trust"),
    Case(
        name="qcow2 of version 99", make=content(b"QFI\xfb\0\0\0c", 4 * MIB), says="refused|trust"
    ),
    Case(name="fifo", make=replaced(os.mkfifo), says="is not a file"),
    Case(
        name="device",
        make=replaced(lambda path: path.symlink_to("/dev/zero")),
        says="is not a file",
    ),
    Case(
        name="dangling link",
        make=replaced(lambda path: path.symlink_to("/nowhere")),
        says="does not exist",
        code=2,
    ),
)
"""No program has opened these."""

TABLES = (
    Case(name="empty", make=content(b""), says="bytes long"),
    Case(name="header alone", make=content(b"QFI\xfb\0\0\0\3"), says="bytes long"),
    Case(name="text", make=content(b"<html>404</html>" * 9999), says="neither a GPT nor an MBR"),
    Case(name="tar", make=content(b"x\0" * 128 + b"ustar", MIB), says="neither a GPT nor an MBR"),
    Case(name="gzip", make=content(b"\x1f\x8b\x08", MIB), says="neither a GPT nor an MBR"),
    Case(name="squashfs", make=content(b"hsqs", MIB), says="neither a GPT nor an MBR"),
    Case(name="zeros", make=content(b"", MIB), says="neither a GPT nor an MBR"),
    Case(
        name="MBR only",
        make=content(bytes(450) + b"\x83" + bytes(59) + b"\x55\xaa", MIB),
        says="partitioned by MBR",
    ),
    Case(
        name="GPT announced and missing",
        make=lambda path: poke(path, 512, bytes(512)),
        says="announces a GPT, which is missing",
    ),
    Case(
        name="hybrid MBR",
        make=lambda path: poke(path, 446 + 16 + 4, b"\x83"),
        says="partitions of its own",
    ),
    Case(
        name="header checksum",
        make=lambda path: set_header(path, FIRST_USABLE, 35, checksum=False),
        says="header has a wrong checksum",
    ),
    Case(
        name="entries checksum",
        make=lambda path: poke(path, 1024 + 56, b"other"),
        says="entries have a wrong checksum",
    ),
    Case(
        name="header of 4 GiB",
        make=lambda path: set_header(path, HEADER_SIZE, 0xFFFFFFFF),
        says="impossible size",
    ),
    Case(
        name="no entries",
        make=lambda path: set_header(path, ENTRIES, 0),
        says="impossible table",
    ),
    Case(
        name="4 billion entries",
        make=lambda path: set_header(path, ENTRIES, 0xFFFFFFFF),
        says="impossible table",
    ),
    Case(
        name="entries of 1 byte",
        make=lambda path: set_header(path, ENTRY_SIZE, 1),
        says="impossible table",
    ),
    Case(
        name="entries of 1 GiB",
        make=lambda path: set_header(path, ENTRY_SIZE, 1 << 30),
        says="impossible table",
    ),
    Case(
        name="entries behind the disk",
        make=lambda path: set_header(path, ENTRIES_AT, SECTORS),
        says="points beyond its end",
    ),
    Case(
        name="entries where no seek goes",
        make=lambda path: set_header(path, ENTRIES_AT, (1 << 64) - 1),
        says="points beyond its end",
    ),
    Case(
        name="entries in the header",
        make=lambda path: set_header(path, ENTRIES_AT, 1),
        says="another position than it records",
    ),
    Case(
        name="header elsewhere",
        make=lambda path: set_header(path, CURRENT, 77),
        says="another position than it records",
    ),
    Case(name="no partitions", make=hostile.drop_entries, says="has no partitions"),
    Case(
        name="partition ends before it begins",
        make=lambda path: set_entry(path, 1, LAST, 10),
        says="ends before it begins",
    ),
    Case(
        name="partition beyond the disk",
        make=lambda path: set_entry(path, 1, LAST, SECTORS * 2),
        says="reaches outside",
    ),
    Case(
        name="partition of 8 ZiB",
        make=lambda path: set_entry(path, 1, LAST, (1 << 64) - 1),
        says="reaches outside",
    ),
    Case(
        name="partition at the first sector",
        make=lambda path: set_entry(path, 14, FIRST, 0),
        says="reaches outside",
    ),
    Case(
        name="overlapping partitions",
        make=lambda path: set_entry(path, 14, LAST, 30000),
        says="overlap",
    ),
    Case(
        name="partition over the table",
        make=lambda path: (set_header(path, FIRST_USABLE, 1), set_entry(path, 14, FIRST, 2)),
        says="lies over the partition table",
    ),
    Case(
        name="usable space beyond the disk",
        make=lambda path: set_header(path, LAST_USABLE, 1 << 40),
        says="for a larger disk",
    ),
    Case(name="cut short", make=lambda path: truncate(path, 20 * MIB), says="for a larger disk"),
    Case(
        name="expands to 200 GiB",
        make=qemu_img("-f", "qcow2", "-o", "preallocation=metadata,cluster_size=2M", "200G"),
        says="GiB free, and this build needs",
        code=5,
    ),
)

FILESYSTEMS = (
    Case(
        name="no filesystem",
        make=lambda path: poke(path, ROOT_AT, bytes(8 * MIB)),
        says="no ext4 root filesystem",
    ),
    Case(
        name="swap",
        make=lambda path: poke(path, ROOT_AT, bytes(4086) + b"SWAPSPACE2"),
        says="no ext4 root|cannot identify|is swap",
    ),
    Case(
        name="two signatures",
        make=lambda path: poke(path, ROOT_AT + 4086, b"SWAPSPACE2"),
        says="cannot identify|is swap|damaged",
    ),
    Case(name="a filesystem too large", make=lambda path: set_entry(path, 1, LAST, 32767),
         says="larger than the partition"),
    Case(name="blocks beyond the disk", make=on_root("ssv blocks_count 99999999"),
         says="larger than the partition|cannot be read"),
    Case(name="no inodes", make=on_root("ssv inodes_count 0"), says="cannot be read|damaged"),
    Case(name="blocks of 1 TiB", make=on_root("ssv log_block_size 30"), says="cannot|no ext4"),
    Case(name="groups of no blocks", make=on_root("ssv blocks_per_group 0"), says="cannot|damaged"),
    Case(name="inodes of 3 bytes", make=on_root("ssv inode_size 3"), says="cannot|damaged"),
    Case(name="features of tomorrow", make=on_root("ssv feature_incompat 0xF00002C2"),
         says="cannot be read"),
    Case(name="journal on another device", make=external_journal, says="on another device"),
    Case(name="free blocks that are none", make=on_root("ssv free_blocks_count 999999"),
         says="more free blocks than blocks"),
    Case(name="used blocks that are free", make=on_root("freeb 1 300"), says="damaged"),
    Case(name="a root that is no directory", make=on_root("sif <2> mode 0100644"),
         says="damaged|cannot"),
    Case(name="a directory in itself", make=on_root("ln <2> /usr/loop"), says="damaged"),
    Case(name="a name without an inode", make=on_root("clri /usr/lib/os-release"), says="damaged"),
    Case(
        name="a label of shell code",
        make=lambda path: poke(path, ROOT_AT + 1024 + 120, b"$(reboot)".ljust(16, b"\0")),
        says="cannot be read|are not valid|damaged",
    ),
)  # fmt: skip

OS_RELEASES = (
    Case(name="no os-release", make=on_root("rm /usr/lib/os-release"), says="no operating system"),
    Case(
        name="os-release is a link to the host's shadow",
        make=on_root("cd /usr/lib", "rm os-release", "symlink os-release /etc/shadow"),
        says="no operating system",
    ),
    Case(
        name="os-release is a fifo",
        make=on_root("cd /usr/lib", "rm os-release", "mknod os-release p"),
        says="is FIFO|is fifo|expected a short regular file",
    ),
    Case(
        name="os-release is a device",
        make=on_root("cd /usr/lib", "rm os-release", "mknod os-release c 1 5"),
        says="expected a short regular file",
    ),
    Case(
        name="os-release is a directory",
        make=on_root("cd /usr/lib", "rm os-release", "mkdir os-release"),
        says="expected a short regular file",
    ),
    Case(
        name="os-release of 1 GiB",
        make=on_root("sif /usr/lib/os-release size 1073741824"),
        says="1073741824 bytes, expected|damaged",
    ),
    Case(name="os-release without ID", make=says("NAME=x\n"), says="no operating system"),
    Case(
        name="os-release is shell code", make=says("ID=$(touch /tmp/pwned)\n"), says="is not a name"
    ),
    Case(name="os-release quotes a path", make=says("ID='../../etc'\n"), says="is not a name"),
    Case(
        name="os-release with a path as code name",
        make=says("ID=ubuntu\nVERSION_CODENAME=../../x\n"),
        says="is not a name",
    ),
    Case(
        name="os-release with options",
        make=says("ID=ubuntu\nVERSION_ID=--help\n"),
        says="is not a name",
    ),
    Case(
        name="os-release with control characters",
        make=says("ID='\x1b]0;x\x07'\n"),
        says="is not a name",
    ),
    Case(name="os-release is binary", make=lambda p: os_release(p, os.urandom(9999)), says="no "),
)


def refused(command_line: CommandLine, source: Path, case: Case) -> list[list[str]]:
    """Have a case refused, and return the programs that were started."""
    case.make(source)
    outcome = command_line.build(source)
    assert outcome.code == case.code, outcome.err
    assert "rror: " in outcome.err
    assert "Traceback" not in outcome.err
    words = case.says.split("|")
    assert any(word in outcome.err for word in words), outcome.err
    command_line.assert_nothing_left()
    return outcome.started


@pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.name)
def test_a_format_is_refused_before_any_program_opens_it(
    command_line: CommandLine, source: Path, case: Case
) -> None:
    assert refused(command_line, source, case) == []


@pytest.mark.parametrize("case", [*TABLES, *FILESYSTEMS, *OS_RELEASES], ids=lambda case: case.name)
def test_a_disk_is_refused_by_reading_it(
    command_line: CommandLine, source: Path, case: Case
) -> None:
    for argv in refused(command_line, source, case):
        if argv == MAY_WE_MOUNT or argv[: len(COPY)] == COPY or {*OF_OURS} & {*argv}:
            continue
        assert tuple(argv[: len(SANDBOX)]) == SANDBOX, argv
        options, reader = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        assert reader[0] in READERS, argv
        given = [path for option, path in pairwise(options) if option == "--write"]
        assert all(
            path == "/dev/null" or path.startswith(f"{command_line.base}/") for path in given
        )
        if reader[0] == "qemu-img":
            assert "-f" in reader, "a format that was not said is one that the file chooses"


def test_there_are_enough_of_them() -> None:
    names = [case.name for case in (*FORMATS, *TABLES, *FILESYSTEMS, *OS_RELEASES)]
    assert len(set(names)) == len(names) >= 60


def test_the_stock_disk_itself_is_read_without_complaint(source: Path) -> None:
    from retrofit import disk

    assert disk.source_format(source) == "raw"
    assert disk.inspect(source).os.codename == "noble"
