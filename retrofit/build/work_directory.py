"""Directories for disks in the making: locked while in use, and emptied of mounts and loops.

What belongs to a directory is found by identity (mount points below it, loop devices whose backing
file is below it), so that whoever died may have left anything.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import structlog

from retrofit import process
from retrofit.dib.plan import STOP_GRACE
from retrofit.errors import BuildError
from retrofit.interrupts import uninterrupted

log = structlog.get_logger(__name__)

LOCK = ".lock"
UNFINISHED = ".retrofit-new-"
BUILD = "build"
TIMEOUT = 120.0
DETACH_WAIT = 10.0
GRACE = STOP_GRACE + 15.0


@contextmanager
def work_directory(root: Path, name: str) -> Iterator[Path]:
    """Make `root`/`name` for the length of the block; whatever is below it is gone afterwards.

    Raises BuildError when it cannot be made.
    """
    path = root / name
    with ExitStack() as undo:
        with uninterrupted():
            undo.enter_context(_made(path))
            undo.callback(_cleared, path)
        yield path


def _made(path: Path) -> TextIO:
    """Make a directory and return its lock. Raises BuildError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise FileExistsError(17, "already exists", str(path))
        # Locked before it has its name: a sweep never sees it without.
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
        lock = (unfinished / LOCK).open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        unfinished.rename(path)
    except OSError as error:
        raise BuildError(
            f"cannot make the work directory {path}: {error.strerror}",
            hint="paths.work must be a directory that we may write to",
        ) from error
    return lock


def _cleared(path: Path) -> None:
    with uninterrupted():
        clear(path)


def sweep(root: Path, *, mourn: Callable[[str], None] = lambda _name: None) -> list[str]:
    """Clear what dead runs left below `root`, and say what that was.

    All directories in `root` must be runs'; those whose lock somebody holds are left alone.
    `mourn` gets the name of each dead one, before it is cleared.
    """
    swept: list[str] = []
    if not root.is_dir():
        return swept
    for path in sorted(root.iterdir()):
        if not path.is_dir() or path.is_symlink():
            continue
        with _locked(path / LOCK, wait=0) as dead:
            if not dead:
                continue
            # Its disk-image-create may still be unmounting: it notices the death by itself. Runs
            # give their builds a directory of their own; `retrofit build` gives all of it.
            with (
                _locked(path / BUILD / LOCK, wait=GRACE) as ended,
                _locked(path / BUILD / BUILD / LOCK, wait=GRACE) as ended_deeper,
            ):
                if not (ended and ended_deeper):
                    log.warning("build of a dead run does not end", directory=str(path))
                    continue
            mourn(path.name)
            with uninterrupted():
                swept += clear(path)
    return swept


@contextmanager
def _locked(path: Path, *, wait: float) -> Iterator[bool]:
    """Say whether nobody holds the lock `path`, waiting up to `wait` seconds for that."""
    if not path.exists():
        yield True
        return
    deadline = time.monotonic() + wait
    with path.open() as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.2)
            else:
                yield True
                return


def clear(path: Path) -> list[str]:
    """Unmount what is mounted below `path`, detach its loop devices, remove it; say what was there.

    Failures are logged: they must not hide the error that led here. What is still mounted is
    never descended into.
    """
    found = []
    path = path.resolve()
    for mount_point in reversed(mount_points(path)):
        found.append(f"mount {mount_point}")
        if not _as_root("umount", mount_point):
            _as_root("umount", "--lazy", mount_point)
    found += _detach_loops(path)
    left = mount_points(path)
    if left:
        log.error("mounts could not be removed", directory=str(path), mounts=left)
        return found
    if path.exists():
        found.append(f"directory {path}")
        remove(path)
    return found


def remove(path: Path) -> None:
    """Remove a directory in which nothing is mounted; failures are logged."""
    with suppress(RecursionError):  # an image's tree may be deeper than Python goes
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # Made by root where we are somebody else.
        _as_root("rm", "--recursive", "--force", "--one-file-system", str(path))


def _detach_loops(path: Path) -> list[str]:
    """Detach, and wait until it is so: a killed build's mounts take a moment to go."""
    found = []
    deadline = time.monotonic() + DETACH_WAIT
    while devices := loop_devices(path):
        for device, backing in devices:
            found.append(f"loop device {device} of {backing}")
            _as_root("losetup", "--detach", device)
        if time.monotonic() > deadline:
            log.error("loop devices could not be detached", devices=devices)
            break
        time.sleep(0.1)
    return list(dict.fromkeys(found))


def _as_root(*argv: str) -> bool:
    prefix = () if os.geteuid() == 0 else ("sudo", "-n")
    try:
        process.run([*prefix, *argv], timeout=TIMEOUT)
    except process.CommandError as error:
        log.warning("clean-up step failed", argv=list(argv), reason=str(error))
        return False
    return True


def mount_points(path: Path) -> list[str]:
    """Return what is mounted at or below `path`, in the order in which it was mounted."""
    # Field 5 of mountinfo, with blanks and such as octal escapes; see proc(5).
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    unescaped = (re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), m) for m in mounts)
    return [mount for mount in unescaped if Path(mount).is_relative_to(path)]


def loop_devices(path: Path) -> list[tuple[str, str]]:
    """Return the loop devices whose backing file is below `path`, even if it was deleted."""
    found = []
    for entry in sorted(Path("/sys/block").glob("loop*")):
        with suppress(OSError):
            backing = (entry / "loop" / "backing_file").read_text().strip()
            if Path(backing.removesuffix(" (deleted)")).is_relative_to(path):
                found.append((f"/dev/{entry.name}", backing))
    return found
