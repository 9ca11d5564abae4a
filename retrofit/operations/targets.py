"""Select the targets of an operation."""

from __future__ import annotations

from retrofit.config import Settings, Target
from retrofit.errors import ConfigError


def select_targets(settings: Settings, names: str | None) -> list[Target]:
    """Return the targets of that name, of several separated by commas, or all for None.

    Raises ConfigError for a name that the configuration does not have.
    """
    if names is None:
        return list(settings.targets)
    known = [target.name for target in settings.targets]
    named = names.split(",")
    unknown = [name for name in named if name not in known]
    if unknown:
        raise ConfigError(
            f"there is no target {unknown[0]}", hint=f"the configuration has: {', '.join(known)}"
        )
    return [target for target in settings.targets if target.name in named]


def the_one_target(targets: list[Target], what: str) -> Target:
    """Return the only target that was named. Raises ConfigError where there are several."""
    if len(targets) == 1:
        return targets[0]
    names = ", ".join(target.name for target in targets)
    raise ConfigError(f"several targets could be {what}: {names}", hint="name one by --target")
