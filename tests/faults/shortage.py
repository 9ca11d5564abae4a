"""What a machine runs short of: put into a run at the boundary of a step, and over at its end.

What is asked of the whole machine is taken from the run's process alone: by its limits, or in a
mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from retrofit.build.request import BuildRequest
from retrofit.errors import BuildError
from retrofit.model import BuiltImage
from retrofit.system import process, threads
from tests.devcloud.places import DevcloudError
from tests.faults import driver
from tests.faults.invariants import Before
from tests.integration.harness import CloudHarness

MIB = 1 << 20
SIZES = {"work": 16384 * MIB, "cache": 512 * MIB, "logs": 128 * MIB, "state": 128 * MIB}
"""Bytes of each directory's small filesystem, sparse: enough for a run until it is filled."""
FILLER = ".filler"
TIMEOUT = 60.0
UNMOUNT_SECONDS = 10.0
CLONE_NEWNS = 0x00020000

Act = Callable[[CloudHarness, Before], driver.Ended]


@contextmanager
def own_filesystem(harness: CloudHarness, name: str) -> Iterator[Path]:
    """Have one of the harness's directories on an ext4 of its own; what was left there stays there.

    The first error makes it read-only, as it does on any server that is set up with care.
    """
    place, disk = harness.path(name), harness.directory / f"{name}.ext4"
    kept = harness.directory / f"{name}.kept"
    place.mkdir(parents=True)
    with disk.open("wb") as file:
        file.truncate(SIZES[name])
    # No blocks for root, which we are: full means full.
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", disk)
    _run("mount", "-o", "loop,errors=remount-ro", disk, place)
    try:
        yield place
        no_part = shutil.ignore_patterns("lost+found", FILLER)
        shutil.copytree(place, kept, symlinks=True, ignore=no_part)
    finally:
        _unmount(place)
        disk.unlink()
    place.rmdir()
    kept.rename(place)


def _unmount(place: Path) -> None:
    """Unmount; only something that the run left there makes it busy for long."""
    deadline = time.monotonic() + UNMOUNT_SECONDS
    while True:
        try:
            _run("umount", place)
        except process.CommandError:
            if time.monotonic() > deadline:
                _run("umount", "--lazy", place)
                raise
            time.sleep(0.2)
        else:
            return


def _run(*argv: str | Path) -> None:
    process.run(argv, timeout=TIMEOUT)


def fill(place: Path) -> None:
    """Take every block that is left."""
    at, size = 0, os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    with (place / FILLER).open("wb") as file:
        while size >= 4096:
            try:
                os.posix_fallocate(file.fileno(), at, size)
                at += size
            except OSError:
                size //= 2


def break_down(place: Path) -> None:
    """Have the kernel find an error in the filesystem, after which nothing can be written."""
    source = next(
        line.split(" - ")[1].split()[1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(place)
    )
    control = os.open(f"/sys/fs/ext4/{Path(source).name}/trigger_fs_error", os.O_WRONLY)
    with suppress(OSError):
        os.write(control, b"1")
    os.close(control)


def forbid_memory(more: int) -> None:
    """Let this process take so many bytes of address space more, and no further ones."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def forbid_memory_but_for_stacks() -> None:
    """Let threads begin, on the stacks of others that ended, and take nothing more.

    glibc keeps those. Each such thread is one that Python waits for: seconds here, not a minute.
    """
    threads.STARTING = 5.0
    ended = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(4)]
    for thread in ended:
        thread.start()
    for thread in ended:
        thread.join()
    forbid_memory(0)


def have_little_memory(scratch: Path) -> None:
    """Have the kernel say that there are 300 MiB left."""
    said = Path("/proc/meminfo").read_text()
    told = re.sub(r"(MemAvailable:\s+)\d+", rf"\g<1>{300 * 1024}", said)
    told = re.sub(r"(MemTotal:\s+)\d+", rf"\g<1>{1024 * 1024}", told)
    scratch.write_text(told)
    _hide(Path("/proc/meminfo"), scratch)


def have_no_loop_devices() -> None:
    """Put something before the loop devices' control that has none."""
    _hide(Path("/dev/loop-control"), Path(os.devnull))


def _hide(what: Path, behind: Path) -> None:
    """Put a file over another one, for this process alone; os.unshare needs Python 3.12."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")
    _run("mount", "--bind", behind, what)


def without(harness: CloudHarness, step: str, take: Callable[[], object]) -> driver.Ended:
    """Run with something taken away right before a step."""

    def build(request: BuildRequest) -> BuiltImage:
        try:
            return harness.fake_builder.build(request)
        except (DevcloudError, OSError) as error:  # as the real one says it
            raise BuildError(f"disk-image-create failed: {error}", hint="see its log") from error

    put_in = driver.at_step(step, take, begun=True)
    return driver.run(harness, "run-once", before=put_in, build=build)


def full_disk(name: str) -> Callable[[str], Act]:
    """Return the fault of a directory whose filesystem has no block left from a step on."""
    return lambda step: lambda harness, _was: _on_its_own(harness, step, name, fill)


def broken_disk(name: str) -> Callable[[str], Act]:
    """Return the fault of a directory whose filesystem becomes read-only at a step."""
    return lambda step: lambda harness, _was: _on_its_own(harness, step, name, break_down)


def _on_its_own(
    harness: CloudHarness, step: str, name: str, harm: Callable[[Path], object]
) -> driver.Ended:
    with own_filesystem(harness, name) as place:
        return without(harness, step, lambda: harm(place))


def lacking(take: Callable[[], object]) -> Callable[[str], Act]:
    """Return the fault of a process from which something is taken away right before a step."""
    return lambda step: lambda harness, _was: without(harness, step, take)


def little_memory(step: str) -> Act:
    """Return the fault of a machine that has become small."""

    def act(harness: CloudHarness, _was: Before) -> driver.Ended:
        scratch = harness.directory / "meminfo"
        return without(harness, step, lambda: have_little_memory(scratch))

    return act


FAULTS: dict[str, Callable[[str], Act]] = {
    **{f"{name} full": full_disk(name) for name in SIZES},
    **{f"{name} read-only": broken_disk(name) for name in SIZES},
    "no memory": lacking(partial(forbid_memory, 0)),
    "no memory but for stacks": lacking(forbid_memory_but_for_stacks),
    "16 MiB of memory": lacking(partial(forbid_memory, 16 * MIB)),
    "small machine": little_memory,
    "no loop devices": lacking(have_no_loop_devices),
}
"""By name: what makes the act of a cell, given the step."""
