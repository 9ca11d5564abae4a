"""The configuration in force: the last valid one, whatever the file contains now."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from retrofit.config import Settings
from retrofit.config.file import default_file, parse, read_file
from retrofit.errors import ConfigError

COPY = "worker.toml"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A file that was read and found valid."""

    content: bytes
    settings: Settings


class Configuration:
    """Reads the configuration, and keeps it for later runs.

    Runs get a copy of the accepted file: an operator may change the file at any time.
    """

    def __init__(self, named: Path | None) -> None:
        self._named = named
        self._content = b""
        self._settings: Settings | None = None
        self._writing = threading.Lock()
        self.state = Path()
        """The state directory, which stays what it was at the start."""

    @property
    def settings(self) -> Settings:
        """Return the settings in force; there are some once a reading was accepted."""
        assert self._settings is not None  # noqa: S101  (for the type checker)
        return self._settings

    @property
    def in_force(self) -> Reading:
        """Return what was accepted last."""
        return Reading(content=self._content, settings=self.settings)

    def read(self) -> Reading:
        """Read the file, and put nothing in force. Raises ConfigError."""
        path = self._named or default_file()
        # Read once: runs get the bytes that were checked, not what the file has later.
        content = read_file(path)
        return Reading(content=content, settings=parse(content, path))

    def accept(self, reading: Reading) -> Settings:
        """Put in force what was read."""
        if self._settings is None:
            self.state = reading.settings.paths.state
        self._content, self._settings = reading.content, reading.settings
        return reading.settings

    def written(self) -> Path:
        """Write the copy anew for a run about to start, and return its path. Raises ConfigError."""
        path = self.state / COPY
        with self._writing:
            partial = path.with_suffix(".partial")
            try:
                partial.unlink(missing_ok=True)
                # For us alone: lock.url may hold a password.
                partial.touch(mode=0o600)
                partial.write_bytes(self._content)
                partial.replace(path)
            except OSError as error:
                raise ConfigError(
                    f"cannot write {path}: {error.strerror}",
                    hint="run as root, or set paths.state",
                ) from error
        return path
