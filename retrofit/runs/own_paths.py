"""The directories of `paths.*`, made retrofit's own before the first thing is written there.

Commands that only read neither make a directory nor refuse one: they delete nothing, and a look at
a machine whose directories are wrong must stay possible. `retrofit config check` asks, and changes
nothing.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from retrofit.config import PathSettings
from retrofit.errors import ConfigError
from retrofit.system import own_directory
from retrofit.system.own_directory import Purpose
from retrofit.system.resource_errors import way_out

ALL: tuple[Purpose, ...] = ("state", "work", "logs", "cache")


def claim_state(paths: PathSettings) -> str:
    """Make `paths.state` retrofit's own, and return its id. Raises ConfigError."""
    try:
        return own_directory.claim(paths.state, "state", known=_known(paths, "state"))
    except OSError as error:
        raise ConfigError(
            f"cannot use the state directory {paths.state}: {error.strerror}",
            hint=way_out(error, "paths.state"),
        ) from error


def claim_paths(paths: PathSettings, *purposes: Purpose) -> None:
    """Make directories retrofit's own; the first use of one that cannot be made reports the error.

    Raises ConfigError for a directory that is somebody else's.
    """
    if "work" in purposes and paths.work.is_relative_to(paths.state):
        # Nothing is made in a directory that is somebody else's, this one neither.
        purposes = ("state", *purposes)
    for purpose in dict.fromkeys(purposes):
        with suppress(OSError):
            own_directory.claim(_path(paths, purpose), purpose, known=_known(paths, purpose))


def check_paths(paths: PathSettings) -> None:
    """Raise the ConfigError of the first run for directories of others, and change nothing."""
    for purpose in ALL:
        own_directory.check(_path(paths, purpose), purpose, known=_known(paths, purpose))


def state_id(paths: PathSettings) -> str | None:
    """Return the id of `paths.state`; None before its first use."""
    return own_directory.directory_id(paths.state, "state")


def is_own(paths: PathSettings, purpose: Purpose) -> bool:
    """Return True for a directory that has our marker: things in it may be ours to delete."""
    return own_directory.is_own(_path(paths, purpose), purpose)


def _path(paths: PathSettings, purpose: Purpose) -> Path:
    path: Path = getattr(paths, purpose)
    return path


def _known(paths: PathSettings, purpose: Purpose) -> tuple[str, ...]:
    """Return what may be in a directory besides: that of `paths.work` may be made before us."""
    if purpose != "state" or not paths.work.is_relative_to(paths.state):
        return ()
    inner = paths.work.relative_to(paths.state).parts
    return inner[:1]
