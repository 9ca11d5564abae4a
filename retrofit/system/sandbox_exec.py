"""Execute a command with access to the files it needs, and with no other privilege of root.

    sandbox_exec.py [--connect] [--user UID:GID] [--read PATH | --write PATH | --fill PATH]...
        -- COMMAND...

Nothing outside of a PATH can be opened, created, renamed or deleted. Only below a `--fill` can
files be created. Without `--connect` there are no TCP connections, and there are never signals to
processes outside. This needs a kernel with Landlock (Linux 5.13, with `--fill` 5.19; connections
from 6.7, signals from 6.12); without it, the files of the user remain accessible. That is user 0
where we are and nobody else is named.

It is run by its path, since importing this package takes longer than all that it does. No existing
tool does this: setpriv and capsh drop capabilities from the bounding set, which needs one that the
systemd units do not have, and neither knows Landlock.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from collections.abc import Sequence

NOT_STARTED, NOT_FOUND = 126, 127
"""Exit codes, as of shells."""
PR_SET_NO_NEW_PRIVS = 38
VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
KEPT = (1 << 1) | (1 << 2)
"""DAC_OVERRIDE and DAC_READ_SEARCH: paths.work and paths.logs may be another user's."""

# Numbers of linux/landlock.h, and of the system calls on every architecture that has them.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_FOR_VERSION = 1
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM = (1 << bit for bit in (4, 5, 7, 8, 12))
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in (13, 14, 15))
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | IOCTL_DEV
FILL = (WRITE & ~EXECUTE) | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER
RIGHTS = {"--read": READ, "--write": WRITE, "--fill": FILL}
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
    """Give up all other privileges for good, then execute the command. Raises OSError."""
    end = argv.index("--")
    options, command = argv[:end], argv[end + 1 :]
    connects = options[:1] == ["--connect"]
    options = options[connects:]
    user = options[1] if options[:1] == ["--user"] else ""
    options = options[2:] if user else options
    paths = list(zip(options[::2], options[1::2], strict=True))
    # Found while this process may still look: soon it can read neither PATH nor Python's modules.
    program = shutil.which(command[0]) or command[0]
    libc = ctypes.CDLL(None, use_errno=True)
    # Without this, user 0 gets all of the bounding set back on execve.
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _restrict(libc, paths, connects=connects)
    _become(user)
    _drop_capabilities(libc)
    try:
        os.execv(program, command)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED)


def _become(user: str) -> None:
    """Change to another user for good; where we may not, what follows takes our powers."""
    if user and os.geteuid() == 0:
        number, group = map(int, user.split(":"))
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(number, number, number)
        except PermissionError:
            return


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    # Effective, permitted, inheritable: of capabilities 0 to 31, then of those from 32 on.
    sets = (ctypes.c_uint32 * 6)()
    _checked(libc.capget(header, sets))
    kept = sets[1] & KEPT
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))


def _restrict(libc: ctypes.CDLL, allowed: Sequence[tuple[str, str]], *, connects: bool) -> None:
    version = libc.syscall(CREATE_RULESET, None, 0, ASK_FOR_VERSION)
    if version < 1:
        return  # not built in, or switched off
    if version < 2 and any(option == "--fill" for option, _ in allowed):
        return  # files could not be moved from one directory to another
    handled = (1 << KNOWN_RIGHTS.get(version, 16)) - 1
    wanted = _Ruleset(files=handled, network=0 if connects else BIND_AND_CONNECT, scopes=SCOPES)
    size = 8 * (1 + (version >= 4) + (version >= 6))  # as many of its members as are known
    ruleset = _checked(libc.syscall(CREATE_RULESET, ctypes.byref(wanted), size, 0))
    for option, path in allowed:
        _allow(libc, ruleset, path, RIGHTS[option] & handled)
    _checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Allow a path and what is beneath it; one that does not exist allows nothing."""
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
