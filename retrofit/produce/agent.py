"""The agent's Python distributions of an image, from their own records in its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from packaging.utils import canonicalize_name

from retrofit.archive.agent import Distribution, written
from retrofit.verify.packages import (
    PythonDistribution,
    python_distributions,
    site_packages,
)
from retrofit.verify.tree import Tree

ORIGIN = "direct_url.json"
"""PyPA's record of a distribution that came from an address, not from an index (PEP 610)."""


def agent_in(tree: Tree) -> bytes:
    """Return the distributions of an image's virtual environment, as evidence has them."""
    return written(_distributions(tree))


def _distributions(tree: Tree) -> Iterator[Distribution]:
    for directory in site_packages(tree):
        for name, found in python_distributions(tree, directory).items():
            git = _repository(tree, found)
            yield Distribution(name=canonicalize_name(name), version=found.version, **git)


def _repository(tree: Tree, found: PythonDistribution) -> dict[str, str]:
    """Return address, ref and commit of what came from git; nothing for all else."""
    try:
        origin: Any = json.loads(tree.text(f"{found.directory}/{ORIGIN}") or "{}")
        control = origin["vcs_info"]
        if control["vcs"] != "git":
            return {}
        return {
            "url": str(origin["url"]),
            "ref": str(control.get("requested_revision") or ""),
            "commit": str(control["commit_id"]),
        }
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}
