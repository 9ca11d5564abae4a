"""Work directories of builds: locked while in use, and cleaned of mounts and loop devices.

Everything that belongs to a directory is found by identity: mount points below it, loop devices
with a backing file below it. So a cleanup does not depend on how a run died.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import structlog

from retrofit.build.command import STOP_GRACE
from retrofit.errors import BuildError
from retrofit.system import process
from retrofit.system.own_directory import RUN_ID
from retrofit.system.privilege import as_root
from retrofit.system.signals import uninterrupted

log = structlog.get_logger(__name__)

LOCK = ".lock"
NEW_PREFIX = ".retrofit-new-"
BUILD = "build"
NAMES = re.compile(rf"((build|verify)-)?{RUN_ID}|{re.escape(NEW_PREFIX)}[a-z0-9_]{{8}}")
"""Names of our directories; the last one is what `tempfile` makes of a prefix."""
TIMEOUT = 120.0
DETACH_WAIT = 10.0
GRACE = STOP_GRACE + 15.0


@contextmanager
def work_directory(root: Path, name: str) -> Iterator[Path]:
    """Make `root`/`name` for the length of the block, and remove all of it afterwards.

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
        # Locked before it has its name: a cleanup never sees it without.
        unfinished = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=path.parent))
        lock = (unfinished / LOCK).open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        unfinished.rename(path)
    except OSError as error:
        raise BuildError(
            f"cannot make the work directory {path}: {error.strerror}",
            hint="paths.work must be a writable directory",
        ) from error
    return lock


def _cleared(path: Path) -> None:
    with uninterrupted():
        clear(path)


def remove_leftovers(
    root: Path, *, on_dead_build: Callable[[str], None] = lambda _name: None
) -> list[str]:
    """Remove what dead runs left below `root`, and return a description of each thing removed.

    A run's directory has a name of our form and a lock. One whose lock is held is left alone, and
    so is whatever else lies in `root`: a name alone proves nothing.
    `on_dead_build` is called with the name of each dead run's directory before it is removed.
    """
    removed: list[str] = []
    if not root.is_dir():
        return removed
    for path in sorted(root.iterdir()):
        if not NAMES.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        if not _is_lock(path / LOCK):
            # Its run died before it had the lock, or a removal after it had none: empty, then.
            with suppress(OSError):
                path.rmdir()
                removed.append(f"directory {path}")
            continue
        with _locked(path / LOCK, wait=0) as dead:
            if not dead:
                continue
            # Its disk-image-create notices the death by itself, and may still be unmounting. Runs
            # give their builds a directory inside theirs; `retrofit build` uses its own.
            with (
                _locked(path / BUILD / LOCK, wait=GRACE) as ended,
                _locked(path / BUILD / BUILD / LOCK, wait=GRACE) as ended_deeper,
            ):
                if not (ended and ended_deeper):
                    log.warning("build of a dead run is still running", directory=str(path))
                    continue
            on_dead_build(path.name)
            with uninterrupted():
                removed += clear(path)
    return removed


def _is_lock(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@contextmanager
def _locked(path: Path, *, wait: float) -> Iterator[bool]:
    """Yield True with the lock `path` held, or False if it is not free within `wait` seconds."""
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
    """Unmount everything below `path`, detach its loop devices, remove it; return what was there.

    Failures are logged: they must not hide the error that led here. A directory with a mount that
    cannot be removed is left as it is.
    """
    found = []
    path = path.resolve()
    for mount_point in reversed(mount_points(path)):
        found.append(f"mount {mount_point}")
        if not _try_as_root("umount", mount_point):
            _try_as_root("umount", "--lazy", mount_point)
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
    """Remove a directory in which nothing is mounted; failures are logged.

    The lock goes last: it is what a later run knows the directory by, if this one dies here.
    """
    with suppress(OSError):
        for entry in path.iterdir():
            if entry.name != LOCK:
                _remove_entry(entry)
    with suppress(OSError):
        (path / LOCK).unlink(missing_ok=True)
        path.rmdir()
    if path.exists():
        _try_as_root("rm", "--recursive", "--force", "--one-file-system", str(path))


def _remove_entry(entry: Path) -> None:
    if entry.is_symlink() or not entry.is_dir():
        with suppress(OSError):
            entry.unlink()
    else:
        with suppress(RecursionError):  # an image's tree may be deeper than Python goes
            shutil.rmtree(entry, ignore_errors=True)
    if entry.is_symlink() or entry.exists():
        # Files that root created, while we run as another user.
        _try_as_root("rm", "--recursive", "--force", "--one-file-system", str(entry))


def _detach_loops(path: Path) -> list[str]:
    """Detach the loop devices, and wait for it: a killed build's mounts take a moment to end."""
    found = []
    deadline = time.monotonic() + DETACH_WAIT
    while devices := loop_devices(path):
        for device, backing in devices:
            found.append(f"loop device {device} of {backing}")
            _try_as_root("losetup", "--detach", device)
        if time.monotonic() > deadline:
            log.error("loop devices could not be detached", devices=devices)
            break
        time.sleep(0.1)
    return list(dict.fromkeys(found))


def _try_as_root(*argv: str) -> bool:
    """Run a command and return True, or log that it failed."""
    try:
        process.run(as_root(*argv), timeout=TIMEOUT)
    except process.CommandError as error:
        log.warning("cleanup step failed", argv=list(argv), reason=str(error))
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
