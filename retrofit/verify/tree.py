"""An image's file tree, read from outside with the meaning that it has inside.

An image's symbolic links are followed as if its root were `/`: one that points to `/etc/passwd`
means the image's, never the host's. Nothing in the tree is executed.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MAX_LINKS = 40
"""As many as Linux follows before ELOOP."""
MAX_TEXT = 4 * 1024 * 1024
MAX_RECORD = 64 * 1024 * 1024
"""Bytes of the longest record, dpkg's among them (some MiB), that is read whole."""


class Tree:
    """The files below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resolve(self, path: str) -> Path | None:
        """Return where the image's `path` lies on the host; None when it is not there."""
        # Not a list: a path in one of the image's files may have a million parts.
        pending = deque(part for part in PurePosixPath(path).parts if part != "/")
        resolved: list[str] = []
        links = 0
        while pending:
            part = pending.popleft()
            if part == "..":
                del resolved[-1:]
                continue
            here = self.root.joinpath(*resolved, part)
            try:
                mode = here.lstat().st_mode
            except (OSError, ValueError):  # the latter for a NUL, which no name has
                return None
            if not stat.S_ISLNK(mode):
                resolved.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                return None
            target = PurePosixPath(here.readlink())
            if target.is_absolute():
                resolved.clear()
            pending.extendleft(p for p in reversed(target.parts) if p != "/")
        return self.root.joinpath(*resolved)

    def entry(self, path: str) -> Path | None:
        """Like `resolve`, but a symbolic link at the end stays what it is."""
        pure = PurePosixPath(path)
        parent = self.resolve(str(pure.parent))
        if parent is None or not os.path.lexists(parent / pure.name):
            return None
        return parent / pure.name

    def is_file(self, path: str) -> bool:
        """Return True if a regular file is there."""
        found = self.resolve(path)
        return found is not None and found.is_file()

    def is_directory(self, path: str) -> bool:
        """Return True if a directory is there."""
        found = self.resolve(path)
        return found is not None and found.is_dir()

    def is_executable(self, path: str) -> bool:
        """Return True if a regular file with a run bit is there."""
        found = self.resolve(path)
        return found is not None and found.is_file() and bool(found.stat().st_mode & 0o111)

    def link_target(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`; None when it is not a link."""
        found = self.entry(path)
        return str(found.readlink()) if found is not None and found.is_symlink() else None

    def text(self, path: str) -> str | None:
        """Return a file's text, 4 MiB of it at most; None when there is no such file."""
        return self._text(path, MAX_TEXT)

    def text_whole(self, path: str) -> str | None:
        """Return the text of a long record such as dpkg's; None when there is no such file.

        Raises OSError when it is longer than any such record: half of it would mislead.
        """
        found = self.resolve(path)
        if found is not None and found.is_file() and found.stat().st_size > MAX_RECORD:
            raise OSError(errno.EFBIG, "is longer than any such record", path)
        return self._text(path, MAX_RECORD)

    def _text(self, path: str, limit: int) -> str | None:
        found = self.resolve(path)
        # Nothing but a regular file: the open of a fifo would wait for ever.
        if found is None or not found.is_file():
            return None
        with found.open("rb") as stream:
            return stream.read(limit).decode(errors="replace")

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none when it is not there."""
        found = self.resolve(directory)
        if found is None or not found.is_dir():
            return []
        return sorted(entry.name for entry in found.iterdir())

    def glob(self, directory: str, pattern: str) -> list[str]:
        """Return the paths in one directory whose names match."""
        return [
            f"{directory.rstrip('/')}/{name}"
            for name in self.names(directory)
            if fnmatch.fnmatchcase(name, pattern)
        ]

    def files_below(self, directory: str) -> Iterator[str]:
        """Yield every path below a directory that is not a directory itself."""
        found = self.resolve(directory)
        if found is None or not found.is_dir():
            return
        # Not os.walk: it recurses, and passes over in silence what it cannot list. Directories
        # deeper than a path can name end this with OSError.
        pending = [found]
        while pending:
            with os.scandir(pending.pop()) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    yield "/" + str(Path(entry.path).relative_to(self.root))

    def which(self, command: str) -> str | None:
        """Return where a service or root's shell would find a command."""
        for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
                          "/sbin", "/bin"):  # fmt: skip
            path = f"{directory}/{command}"
            if self.is_executable(path):
                return path
        return None
