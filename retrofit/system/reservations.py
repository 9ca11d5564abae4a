"""Memory and disk that processes of this machine reserve, so that none counts on another's.

Each reservation is a file that its process keeps locked: that of a dead process counts no more, and
is deleted by the next one that looks.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retrofit.system.directories import make_directory

ENDING = ".json"
LOCK = ".lock"
"""File whose lock a process holds while it decides."""
BLOCK = 512
"""Bytes of a block of `st_blocks` (stat(2))."""


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Bytes that a process may still take: of memory, and of filesystems by device number.

    Its files in `directory` count as taken already. Memory counts until the end: what of it is in
    use nobody can see from outside.
    """

    memory: int
    disks: Mapping[int, int]
    directory: Path

    def outstanding(self, device: int) -> int:
        """Return the bytes of a filesystem that are reserved, and not written yet."""
        wanted = self.disks.get(device, 0)
        return max(0, wanted - written(self.directory, device)) if wanted else 0


Decision = Callable[[Sequence[Reservation]], Reservation]
"""What decides a reservation from those of all other living processes."""


class Held:
    """A reservation of this process: `mine`, until it is renewed."""

    def __init__(self, path: Path, descriptor: int, mine: Reservation) -> None:
        self.mine = mine
        self._path, self._descriptor = path, descriptor

    def renew(self, decide: Decision) -> None:
        """Decide again, and hold that instead; what `decide` raises passes on, and changes nothing.

        Raises OSError.
        """
        make_directory(self._path.parent)
        with _locked(self._path.parent / LOCK):
            mine = decide(_living(self._path.parent, without=self._path))
            _write(self._descriptor, mine)
        self.mine = mine


@contextmanager
def reserved(directory: Path, name: str, decide: Decision) -> Iterator[Held]:
    """Hold a reservation for the length of the block.

    `decide` is alone meanwhile; what it raises passes on. Raises OSError.
    """
    make_directory(directory)
    path = directory / f"{name}{ENDING}"
    with _locked(directory / LOCK):
        mine = decide(_living(directory))
        descriptor = _open(path)
        try:
            _write(descriptor, mine)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield Held(path, descriptor, mine)
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _living(directory: Path, without: Path | None = None) -> list[Reservation]:
    found = []
    for path in sorted(set(directory.glob(f"*{ENDING}")) - {without}):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # its process has just ended
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(OSError, ValueError, KeyError, TypeError):
                found.append(_read(path))
        else:
            with suppress(OSError):
                path.unlink()
        finally:
            os.close(descriptor)
    return found


def _read(path: Path) -> Reservation:
    record = json.loads(path.read_text())
    return Reservation(
        memory=int(record["memory"]),
        disks={int(device): int(size) for device, size in record["disks"].items()},
        directory=Path(record["directory"]),
    )


def _open(path: Path) -> int:
    """Return the descriptor by which the file of a reservation is locked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, mine: Reservation) -> None:
    """Write a reservation over the one that is there: a full disk leaves that whole."""
    record = {
        "memory": mine.memory,
        "disks": {str(device): size for device, size in mine.disks.items()},
        "directory": str(mine.directory),
    }
    data = json.dumps(record).encode()
    os.ftruncate(descriptor, os.pwrite(descriptor, data, 0))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def written(directory: Path, device: int) -> int:
    """Return the bytes that files below a directory take on a filesystem."""
    taken = 0
    for place, _, files in os.walk(directory):
        for name in files:
            with suppress(OSError):
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118 -- of thousands of files
                taken += found.st_blocks * BLOCK if found.st_dev == device else 0
    return taken
