"""Become a command that has user 0's files, and no other power of root: `confine.py COMMAND...`.

Run by its path, as importing this package takes longer than all that is done here. No tool does
it: setpriv and capsh drop capabilities from the bounding set alone, for which those of the systemd
units do not suffice.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS = 38
VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
KEPT = (1 << 1) | (1 << 2)
"""DAC_OVERRIDE and DAC_READ_SEARCH: paths.work and paths.logs may be another user's."""


def main(argv: list[str]) -> None:
    """Give up what is not kept, for good, and become the command. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Without this, user 0 gets all of the bounding set back when it executes a program.
    _do(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    # Effective, permitted, inheritable: of capabilities 0 to 31, then of those from 32 on.
    sets = (ctypes.c_uint32 * 6)()
    _do(libc.capget(header, sets))
    kept = sets[1] & KEPT
    _do(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))
    os.execvp(argv[0], argv)  # noqa: S606  (no shell is wanted)


def _do(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
