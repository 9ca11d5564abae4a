"""What a verification must not leave on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrofit.system import process


def loop_devices(below: Path) -> list[str]:
    """Return the loop devices whose file lies below a directory, deleted ones included."""
    said = process.run(["losetup", "--list", "--noheadings", "-O", "BACK-FILE"], timeout=30).stdout
    return [line for line in said.splitlines() if line.strip().startswith(str(below))]


def mounts(below: Path) -> list[str]:
    """Return the mount points below a directory."""
    fields = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [field[4] for field in fields if field[4].startswith(str(below))]


def processes(naming: Path) -> list[str]:
    """Return the command lines that name a directory, our own excepted."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].rpartition("/")[2].startswith(("qemu", "nsenter", "setpriv")) and any(
            str(naming) in word for word in words
        ):
            found.append(" ".join(words))
    return found


def network_namespaces() -> set[str]:
    """Return every network namespace that some process or thread is in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/ns/net"):
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue
    return found


@contextmanager
def nothing_left(work_dir: Path) -> Iterator[None]:
    """Fail when the block leaves a process, mount, loop device, file, thread or namespace."""
    before = network_namespaces()
    yield
    assert processes(work_dir) == []
    assert mounts(work_dir) == []
    assert loop_devices(work_dir) == []
    assert not work_dir.exists()
    ours = {str(path.readlink()) for path in Path("/proc/self/task").glob("[0-9]*/ns/net")}
    assert ours <= before
