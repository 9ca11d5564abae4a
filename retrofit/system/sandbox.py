"""Commands that read untrusted files: they get the files they need, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from retrofit.system.tied import untied

SANDBOX = (sys.executable, "-I", "-S", str(Path(__file__).with_name("sandbox_exec.py")))
ALWAYS_READABLE = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/localtime",
    "/proc/self", "/proc/sys/vm", "/sys/devices/system", "/dev/urandom",
)  # fmt: skip
"""Always readable: programs, libraries, firmware, facts about processors."""


def sandboxed(
    *words: str | Path,
    read: Iterable[str | Path] = (),
    write: Iterable[str | Path] = (),
    fill: Iterable[str | Path] = (),
    connect: bool = False,
    user: tuple[int, int] | None = None,
) -> list[str]:
    """Return a command's argv, wrapped so that it can open only these files and has no privileges.

    `write` are existing files: none can be created. `fill` are directories in which files can be
    created, renamed and deleted. TCP connections need `connect`. `user` is a user's and a group's
    number to run as, where we may change them. Which of this a kernel enforces is documented in
    `sandbox_exec.py`.
    """
    options = ["--connect"] if connect else []
    if user is not None:
        options += ["--user", "{}:{}".format(*user)]
    for path in (*ALWAYS_READABLE, *read):
        options += ["--read", str(path)]
    for path in ("/dev/null", *write):
        options += ["--write", str(path)]
    for path in fill:
        options += ["--fill", str(path)]
    return [*SANDBOX, *options, "--", *map(str, words)]


def program_name(words: Sequence[str]) -> str:
    """Return the program of a command, without what ties it and the sandbox around it."""
    words = untied(words)
    if tuple(words[: len(SANDBOX)]) == SANDBOX:
        return words[words.index("--") + 1]
    return words[0]
