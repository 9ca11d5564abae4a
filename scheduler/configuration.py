"""The configuration in force: what was valid when it was read, whatever was written since."""

from __future__ import annotations

import threading
from pathlib import Path

from retrofit.config import Settings
from retrofit.errors import ConfigError
from retrofit.settings_file import content_of, understood, usual_file

COPY = "worker.toml"


class Configuration:
    """Reads the configuration, and keeps what it read for the runs to come.

    Runs get a copy of the file as it was accepted: an operator who is in the middle of changing it
    disturbs no run.
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
        """Return the settings in force; there are some once `read` has succeeded."""
        assert self._settings is not None  # noqa: S101  (for the type checker)
        return self._settings

    def read(self) -> Settings:
        """Read the file and have it in force, or raise ConfigError and change nothing."""
        path = self._named or usual_file()
        # Read once: what was looked at, and who may have written it, is what runs get.
        content = content_of(path)
        settings = understood(content, path)
        if self._settings is None:
            self.state = settings.paths.state
        self._content, self._settings = content, settings
        return settings

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
