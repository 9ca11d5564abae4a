"""Commands that end with the process that started them, whatever ends that, kill -9 included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_SETPRIV = ("setpriv", "--pdeathsig")
NOT_STARTED, NOT_FOUND = 126, 127
"""Exit codes of setpriv where it cannot start the command, as of shells."""


def tied(*words: str | Path, by: Literal["TERM", "KILL"]) -> list[str]:
    """Return a command's argv, wrapped so that the kernel sends it a signal when its parent ends.

    That is the thread that starts it, so it has to be one that waits for the command. What the
    command itself starts gets no signal (prctl(2), PR_SET_PDEATHSIG). By util-linux's setpriv:
    Popen's preexec_fn may deadlock where there are threads.
    """
    return [*_SETPRIV, by, "--", *map(str, words)]


def untied(words: Sequence[str]) -> Sequence[str]:
    """Return a command without what ties it."""
    return words[len(_SETPRIV) + 2 :] if tuple(words[: len(_SETPRIV)]) == _SETPRIV else words


def reason_not_started(words: Sequence[str], returncode: int, stderr: str) -> str | None:
    """Return why setpriv could not start a tied command; None for what the command did itself."""
    if untied(words) is words or returncode not in {NOT_STARTED, NOT_FOUND}:
        return None
    lines = stderr.strip().splitlines()
    if len(lines) != 1 or not lines[0].startswith("setpriv: "):
        return None
    return "not found" if returncode == NOT_FOUND else lines[0].rpartition(": ")[2]
