"""Shortages of the machine (space, memory, files, processes), reported as such and not as bugs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retrofit.errors import RetrofitError

MEMORY = "there is not enough memory", "stop something else, or work on a larger machine"
FILES = "there are too many open files", "raise the limit (LimitNOFILE= of a systemd unit)"
PROCESSES = "no process or thread can be started", "raise the limit (TasksMax= of a systemd unit)"
SHORTAGES = {
    errno.ENOSPC: ("there is no space left", "free some, or set [paths] to larger filesystems"),
    errno.EDQUOT: ("the quota is used up", "raise it, or set [paths] to other filesystems"),
    errno.EROFS: ("the filesystem is read-only", "see the kernel's log for the reason"),
    errno.EIO: ("the disk does not read or write", "see the kernel's log for the reason"),
    errno.ENOMEM: MEMORY,
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
    errno.EAGAIN: PROCESSES,
}
"""Message and hint, by errno."""
NO_FRAME = "error return without exception set"
"""The message of CPython 3.11 when there is no memory for a call's frame."""


def resource_shortage(error: BaseException) -> tuple[str, str] | None:
    """Return message and hint for a shortage of the machine; None for any other error."""
    if _lacks_memory(error):
        return MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return PROCESSES
    if not isinstance(error, OSError) or error.errno not in SHORTAGES:
        return None
    message, hint = SHORTAGES[error.errno]
    return (f"{error.filename}: {message}" if error.filename else message), hint


def way_out(error: OSError, setting: str) -> str:
    """Return the hint for a directory of `setting` that cannot be used."""
    shortage = resource_shortage(error)
    return f"run as root, or set {setting}" if shortage is None else shortage[1]


def _lacks_memory(error: BaseException | None) -> bool:
    """Return True for a lack of memory, also where Python or a library wrapped it."""
    while error is not None:
        if isinstance(error, MemoryError) or (
            isinstance(error, SystemError) and NO_FRAME in str(error)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def resource_errors_as(
    kind: Callable[..., RetrofitError], action: str | Callable[[], str]
) -> Iterator[None]:
    """Raise shortages of the machine as errors that `kind` makes: "cannot <action>: ..."."""
    try:
        yield
    except RetrofitError:
        raise
    except Exception as error:
        shortage = resource_shortage(error)
        if shortage is None:
            raise
        message, hint = shortage
        what = action if isinstance(action, str) else action()
        raise kind(f"cannot {what}: {message}", hint=hint) from error
