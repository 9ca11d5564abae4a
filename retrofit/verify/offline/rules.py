"""The image under examination, and the register of its checks."""

from __future__ import annotations

import re
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

    `architecture` is Glance's word; `free` is the free space of its root filesystem.
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
        """Return the operating system of the image's os-release."""
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
    def python_version(self) -> str | None:
        """Return the version of the Python that the agent runs on: `3.13.5`, or `3.13`."""
        package = self.packages.get("python3")
        if package is not None:
            return package.upstream_version
        found = (re.search(r"/python(3\.\d+)/", each) for each in self.agent_python)
        return next((match[1] for match in found if match), None)

    @cached_property
    def distributions(self) -> dict[str, PythonDistribution]:
        """Return the Python distributions that the agent can import, by normalised name."""
        found: dict[str, PythonDistribution] = {}
        for directory in self.agent_python:
            found |= python_distributions(self.tree, directory)
        return found


Rule = Callable[[Subject], str]
"""Checks one thing and returns its finding; raises CheckFailedError or NotApplicableError."""

RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a check under the name that reports, logs and tests use."""

    def register(function: Rule) -> Rule:
        if name in RULES:
            raise ValueError(f"two checks are called {name}")
        RULES[name] = function
        return function

    return register
