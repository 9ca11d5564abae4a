"""Installations of retrofit and the machines that serve them, as their operators see them.

An installation is what an operator means by one: it stays the same object through a new target name
or tag that was announced, and is another one where the operator did not announce it. No property of
an image takes part in that.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrofit.build.recipe import Recipe, recipe_for
from retrofit.config import (
    BuildSettings,
    FreshnessSettings,
    LockSettings,
    OctaviaSettings,
    PathSettings,
    PublishSettings,
    Settings,
    SourceSettings,
    Target,
    VerifySettings,
)

TRUST = ("owner", "digest")
LEVELS = ("offline", "boot")
"""Demands on a source and on a verification, the weaker one first."""


@dataclass(eq=False)
class Site:
    """One state directory on one host. `clock` is how far its clock is ahead of Glance's."""

    name: str
    host: str
    directory: Path
    clock: timedelta = timedelta()

    @property
    def paths(self) -> dict[str, Path]:
        """Return the directories of `[paths]`."""
        return {key: self.directory / key for key in ("state", "cache", "work", "logs")}

    def empty(self) -> None:
        """Lose all directories, as a container does that is made anew."""
        shutil.rmtree(self.directory, ignore_errors=True)


@dataclass(eq=False)
class Installation:
    """What an operator calls one installation: a tag, a target, and its machines."""

    name: str
    tag: str
    target_name: str
    sites: list[Site]
    lock_url: str | None = None
    exclude_0_1: bool = True
    """Whether its runs hold the lock of 0.1.0 too, which is named after the target alone."""
    former_tags: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()
    trust: int = 0
    level: int = 0
    packages: tuple[str, ...] = ()
    publish: dict[str, Any] = field(default_factory=dict)
    properties: tuple[tuple[str, str], ...] = ()
    """Of `publish.properties`, as far as the configuration accepts them."""
    query: str = "auto"
    adopted: set[str] = field(default_factory=set)
    """Images of others that became this installation's: by a command, or of 0.1.0."""
    paused_until: datetime | None = None
    paused_at: Site | None = None
    """The machine of the last order; None while there is no pause."""
    paused_sites: dict[Site, frozenset[str]] = field(default_factory=dict)
    """Machines that met a pause, and may keep it once none of the images is there that carried it:
    they would show that it was ended, or by which other one it was replaced."""
    pause_carriers: set[str] = field(default_factory=set)
    """Images of the installation that were there when the pause was ordered."""

    @property
    def tags(self) -> frozenset[str]:
        """Return the tags by which images of the installation are or were found."""
        return frozenset({self.tag, *self.former_tags})

    @property
    def target_names(self) -> frozenset[str]:
        """Return the names that the target has and had."""
        return frozenset({self.target_name, *self.formerly})

    @property
    def target(self) -> Target:
        """Return the configuration of today."""
        return _target(
            self.target_name,
            self.formerly,
            self.tag,
            self.former_tags,
            TRUST[self.trust],
            LEVELS[self.level],
            self.packages,
            tuple(sorted(self.publish.items())),
            self.properties,
            self.query,
        )

    def settings(self, site: Site) -> Settings:
        """Return the whole configuration of one machine."""
        return Settings(
            targets=(self.target,),
            paths=PathSettings(**site.paths, keep_logs=3),
            lock=LockSettings(url=self.lock_url, exclude_0_1=self.exclude_0_1),
        )


@cache
def _target(
    name: str,
    formerly: tuple[str, ...],
    tag: str,
    former_tags: tuple[str, ...],
    trust: Any,
    level: Any,
    packages: tuple[str, ...],
    publish: tuple[tuple[str, Any], ...],
    properties: tuple[tuple[str, str], ...],
    query: Any,
) -> Target:
    renamed: dict[str, Any] = {"formerly": formerly} if formerly else {}
    moved: dict[str, Any] = {"former_tags": former_tags} if former_tags else {}
    return Target(
        name=name,
        source=SourceSettings(trust=trust),
        verify=VerifySettings(level=level),
        build=BuildSettings(packages=packages),
        publish=PublishSettings(tag=tag, properties=dict(properties), **moved, **dict(publish)),
        octavia=OctaviaSettings(query=query),
        freshness=FreshnessSettings(check=False),
        **renamed,
    )


def accepted(properties: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return image properties as an operator sets them; none where the configuration refuses."""
    try:
        PublishSettings(properties=dict(properties))
    except ValidationError:
        return ()
    return properties


@cache
def known_recipe(packages: tuple[str, ...]) -> Recipe:
    """Return a recipe, which takes a second to compute."""
    return recipe_for(BuildSettings(packages=packages))
