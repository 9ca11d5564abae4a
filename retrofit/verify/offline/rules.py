"""The image under examination, and the register of what is examined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from retrofit.config import BuildSettings
from retrofit.disk import OsRelease, parse_os_release
from retrofit.errors import SourceError
from retrofit.verify.packages import (
    SYSTEM_PYTHON,
    DebianPackage,
    PythonDistribution,
    debian_packages,
    python_distributions,
    site_packages,
)
from retrofit.verify.tree import Tree


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An image whose filesystems are mounted read-only. Sizes are bytes.

    `architecture` is Glance's word; `free` is what its root filesystem has left.
    """

    tree: Tree
    build: BuildSettings
    architecture: str
    virtual_size: int
    free: int
    free_inodes: int = 1 << 20

    @cached_property
    def packages(self) -> dict[str, DebianPackage]:
        """Return the installed packages by name."""
        return debian_packages(self.tree)

    @cached_property
    def os(self) -> OsRelease | None:
        """Return what the image says it is."""
        try:
            return parse_os_release(self.tree.text("/etc/os-release") or "")
        except SourceError:
            return None

    @cached_property
    def agent_python(self) -> list[str]:
        """Return the directories from which the agent's Python imports."""
        if self.build.agent == "pypi":
            return site_packages(self.tree)
        return [SYSTEM_PYTHON]

    @cached_property
    def distributions(self) -> dict[str, PythonDistribution]:
        """Return the Python distributions that the agent can import, by normalised name."""
        found: dict[str, PythonDistribution] = {}
        for directory in self.agent_python:
            found |= python_distributions(self.tree, directory)
        return found


Rule = Callable[[Subject], str]
"""Looks at one thing and returns what it saw; raises CheckFailedError or NotApplicableError."""

RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a check under the name that reports, logs and tests use."""

    def register(function: Rule) -> Rule:
        if name in RULES:
            raise ValueError(f"two checks are called {name}")
        RULES[name] = function
        return function

    return register
