"""Commands that read what nobody vouches for: they get the files they need, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

CONFINE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("confine.py")))
SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/localtime",
    "/proc/self", "/proc/sys/vm", "/sys/devices/system", "/dev/urandom",
)  # fmt: skip
"""What may always be read: programs, libraries, firmware, what there is of processors."""


def confined(
    *words: str | Path,
    read: Iterable[str | Path] = (),
    write: Iterable[str | Path] = (),
    connect: bool = False,
) -> list[str]:
    """Return the words of a command that can open nothing but these files, and has no other power.

    What is written to has to be there: files are not made. Only with `connect` are there TCP
    connections. How far the kernel can hold a program to all that, `confine.py` says.
    """
    options = ["--connect"] if connect else []
    for path in (*SYSTEM, *read):
        options += ["--read", str(path)]
    for path in ("/dev/null", *write):
        options += ["--write", str(path)]
    return [*CONFINE, *options, "--", *map(str, words)]


def program_of(words: Sequence[str]) -> str:
    """Return the program that a command is about: what is confined, not what confines it."""
    if tuple(words[: len(CONFINE)]) == CONFINE:
        return words[words.index("--") + 1]
    return words[0]
