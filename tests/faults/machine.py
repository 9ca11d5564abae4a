"""What of a command's directories is still in use on the machine, whoever uses it, and wherever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retrofit.build.work_directory import loop_devices
from retrofit.system.own_directory import MARKER
from tests.integration.harness import CloudHarness

WAYS = ("cwd", "root", "exe")


def in_use(harness: CloudHarness) -> Iterator[str]:
    """Say which processes, mounts and loop devices belong to the harness's machine."""
    place = harness.directory.resolve() / harness.machine
    for process in _processes(place):
        yield f"a process is left: {process}"
    for mount in _mounts(place):
        yield f"a mount is left: {mount}"
    for device, backing in loop_devices(place):
        yield f"a loop device is left: {device} of {backing}"


def lying_about(harness: CloudHarness) -> Iterator[str]:
    """Say which files and directories of runs that are over still lie where runs work."""
    work, temporary = harness.path("work"), harness.path("tmp")
    # One directory for the runs of a target, and one for shelves, may stay: empty.
    found = [path for path in work.glob("*") if not path.is_dir() and path.name != MARKER]
    for path in (*found, *work.glob("*/*"), *temporary.glob("*")):
        yield f"a file is left: {path}"


def _processes(place: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(_names(word, place) for word in (*words, *_links(entry))):
            found.append(f"{entry.name}: {' '.join(words)}")
    return found


def _links(entry: Path) -> Iterator[str]:
    """Yield what a process works in, runs and has open; none of it of one that is ending."""
    ways = [entry / way for way in WAYS]
    try:
        ways += (entry / "fd").iterdir()
    except OSError:
        return
    for way in ways:
        try:
            yield str(way.readlink())
        except OSError:
            continue


def _names(word: str, place: Path) -> bool:
    """Tell `place` itself, what is below it, and what is named after it, as a command's output."""
    _, found, rest = word.partition(str(place))
    return bool(found) and rest[:1] in {"", "/", ".", " "}


def _mounts(place: Path) -> list[str]:
    """Return the mount points at or below a place, in every mount namespace there is."""
    found: dict[tuple[str, str], None] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            namespace = str((entry / "ns" / "mnt").readlink())
            lines = (entry / "mountinfo").read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            point = line.split()[4]
            if _names(point, place):
                found[namespace, point] = None
    return [f"{point} ({namespace})" for namespace, point in found]
