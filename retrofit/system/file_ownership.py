"""Whether a file is ours to obey: a configuration names programs to run, and where passwords go."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from retrofit.errors import ConfigError

MOST_LINKS = 40
"""As many as Linux follows before ELOOP."""


def require_trustworthy(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError for a file that others may change or replace, given what fstat says of it.

    Whoever called sudo may keep it as their own; what is no regular file (/dev/stdin) was meant.
    """
    if not stat.S_ISREG(status.st_mode):
        return
    _require(path, path, "it", _writers(status))
    for directory in _directories(path):
        try:
            said = _writers(directory.stat())
        except OSError:
            continue  # gone, or not ours to look at: what was opened lies elsewhere by now
        _require(path, directory, f"{directory}, in which it lies,", said)


def _require(path: Path, culprit: Path, name: str, writers: Iterable[str]) -> None:
    listed = ", and ".join(said.format(name) for said in writers)
    if listed:
        raise ConfigError(
            f"{path} is not trusted: {listed}",
            hint=f"chown root:root {culprit}; chmod go-w {culprit}",
        )


def _writers(status: os.stat_result) -> Iterator[str]:
    """Say who else may write to a file, or replace what is in a directory."""
    is_directory = stat.S_ISDIR(status.st_mode)
    # In a sticky directory such as /tmp, everybody may make files and replace their own alone.
    shared = is_directory and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not shared:
        yield "everybody may write to {}"
    if os.geteuid() != 0:
        return
    if status.st_uid != 0 and str(status.st_uid) != os.environ.get("SUDO_UID", ""):
        yield f"{{}} belongs to user {status.st_uid}"
    # Directories of one's own are often writable for one's own group, which has nobody else in it.
    own_group = is_directory and str(status.st_gid) == os.environ.get("SUDO_GID", "")
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0 and not shared and not own_group:
        yield f"group {status.st_gid} may write to {{}}"


def _directories(path: Path) -> dict[Path, None]:
    """Return the directories by which a file is found, those of links to it included."""
    found: dict[Path, None] = {}
    here = path.absolute()
    for _ in range(MOST_LINKS):
        found |= dict.fromkeys((*here.parents, *here.resolve().parents))
        if not here.is_symlink():
            break
        here = here.parent / here.readlink()
    return found
