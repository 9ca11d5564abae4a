"""Become a command that has the files it needs, and no other power of root.

    confine.py [--connect] [--read PATH]... [--write PATH]... -- COMMAND...

What is not beneath a PATH cannot be opened, made, renamed or deleted. Without `--connect` there are
no TCP connections either, and never signals to processes outside. This takes a kernel with
Landlock (Linux 5.13; connections from 6.7, signals from 6.12); where it has not, the files of user
0 stay within reach.

Run by its path, as importing this package takes longer than all that is done here. No tool does
it: setpriv and capsh drop capabilities from the bounding set alone, for which those of the systemd
units do not suffice, and neither knows Landlock.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from collections.abc import Iterable

NOT_STARTED, NOT_FOUND = 126, 127
"""Exit codes, as shells have them."""
PR_SET_NO_NEW_PRIVS = 38
VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
KEPT = (1 << 1) | (1 << 2)
"""DAC_OVERRIDE and DAC_READ_SEARCH: paths.work and paths.logs may be another user's."""

# Numbers of linux/landlock.h, and of the system calls on every architecture that has them.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_FOR_VERSION = 1
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | IOCTL_DEV
KNOWN_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights on files a version knows; later ones know 16."""
BIND_AND_CONNECT = 0b11
"""TCP; known from version 4 on."""
SCOPES = 0b11
"""Abstract Unix sockets, and signals; known from version 6 on."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("directory", ctypes.c_int32))


def main(argv: list[str]) -> None:
    """Give up what is not kept, for good, and become the command. Raises OSError."""
    end = argv.index("--")
    options, command = argv[:end], argv[end + 1 :]
    connects = options[:1] == ["--connect"]
    paths = iter(options[connects:])
    # Looked for before this process may no longer see where it is, nor where Python's modules are.
    program = shutil.which(command[0]) or command[0]
    libc = ctypes.CDLL(None, use_errno=True)
    # Without this, user 0 gets all of the bounding set back when it executes a program.
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _restrict(libc, zip(paths, paths, strict=True), connects=connects)
    _drop_capabilities(libc)
    try:
        os.execv(program, command)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    # Effective, permitted, inheritable: of capabilities 0 to 31, then of those from 32 on.
    sets = (ctypes.c_uint32 * 6)()
    _checked(libc.capget(header, sets))
    kept = sets[1] & KEPT
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))


def _restrict(libc: ctypes.CDLL, allowed: Iterable[tuple[str, str]], *, connects: bool) -> None:
    version = libc.syscall(CREATE_RULESET, None, 0, ASK_FOR_VERSION)
    if version < 1:
        return  # neither built in nor switched off: there is nothing to ask for
    handled = (1 << KNOWN_RIGHTS.get(version, 16)) - 1
    wanted = _Ruleset(files=handled, network=0 if connects else BIND_AND_CONNECT, scopes=SCOPES)
    size = 8 * (1 + (version >= 4) + (version >= 6))  # as many of its members as are known
    ruleset = _checked(libc.syscall(CREATE_RULESET, ctypes.byref(wanted), size, 0))
    for option, path in allowed:
        _allow(libc, ruleset, path, (WRITE if option == "--write" else READ) & handled)
    _checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Allow what is at and beneath a path; one that is not there allows nothing."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(opened).st_mode):
        rights &= ~READ_DIR  # which the kernel refuses for a file
    rule = _Beneath(rights=rights, directory=opened)
    _checked(libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0))
    os.close(opened)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
