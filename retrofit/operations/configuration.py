"""Check a configuration that was read, against the environment that it is used in."""

from __future__ import annotations

from collections.abc import Iterable

from retrofit.cloud.auth import cloud_region
from retrofit.config import PathSettings, Target
from retrofit.errors import ConfigError
from retrofit.runs.own_paths import check_paths


def check_environment(targets: Iterable[Target], paths: PathSettings) -> tuple[ConfigError, ...]:
    """Return why clouds of the targets cannot be used, each reason once.

    That is no mistake of the configuration: credentials may come after it, and a container that
    is only built has none. Variables that contradict the settings of the targets' clouds are
    logged. Raises ConfigError for directories of `paths` that a run would refuse; nothing is
    changed.
    """
    check_paths(paths)
    found: dict[str, ConfigError] = {}
    for target in targets:
        try:
            cloud_region(target.cloud)
        except ConfigError as error:
            found.setdefault(error.message, error)
    return tuple(found.values())
