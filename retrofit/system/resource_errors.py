"""What a machine runs short of while we work: told as what it is, and not as a bug of ours."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retrofit.errors import RetrofitError

MEMORY = "there is not enough memory", "stop something else, or work on a larger machine"
FILES = "there are too many open files", "raise the limit (LimitNOFILE= of a systemd unit)"
PROCESSES = "no process or thread can be started", "raise the limit (TasksMax= of a systemd unit)"
SHORT = {
    errno.ENOSPC: ("there is no space left", "free some, or set [paths] to larger filesystems"),
    errno.EDQUOT: ("the quota is used up", "raise it, or set [paths] to other filesystems"),
    errno.EROFS: ("the filesystem is read-only", "see in the kernel's log what made it so"),
    errno.EIO: ("the disk does not read or write", "see in the kernel's log what is wrong with it"),
    errno.ENOMEM: MEMORY,
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
    errno.EAGAIN: PROCESSES,
}
"""What is said, and the hint."""
NO_FRAME = "error return without exception set"
"""What CPython 3.11 says when there is no memory for a call's frame."""


def shortage(error: BaseException) -> tuple[str, str] | None:
    """Return what an error says that a machine is short of, and the way out; None for no such."""
    if _lacks_memory(error):
        return MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return PROCESSES
    if not isinstance(error, OSError) or error.errno not in SHORT:
        return None
    said, hint = SHORT[error.errno]
    return (f"{error.filename}: {said}" if error.filename else said), hint


def _lacks_memory(error: BaseException | None) -> bool:
    """Say whether it is a lack of memory, or what Python and libraries make of one."""
    while error is not None:
        if isinstance(error, MemoryError) or (
            isinstance(error, SystemError) and NO_FRAME in str(error)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def told_as(kind: Callable[..., RetrofitError], doing: str | Callable[[], str]) -> Iterator[None]:
    """Raise what a machine is short of as an error that `kind` makes; `doing` says what for."""
    try:
        yield
    except RetrofitError:
        raise
    except Exception as error:
        short = shortage(error)
        if short is None:
            raise
        what = doing if isinstance(doing, str) else doing()
        raise kind(f"cannot {what}: {short[0]}", hint=short[1]) from error
