"""What a build changed: packages, and the CVE ids that their changelogs name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from retrofit.archive.changelog import fixed_since
from retrofit.archive.changes import PackageChange, package_changes
from retrofit.archive.evidence import Evidence
from retrofit.verify.mounting import mounted_image
from retrofit.verify.tree import Tree

DOCUMENTATION = "/usr/share/doc"
NAMES = ("changelog.Debian.gz", "changelog.gz")
"""The latter in packages that are Debian's own."""
LARGEST = 4 << 20
"""Characters of a changelog that are read: the newest entries come first."""


def changed_packages(
    before: Evidence, after: Evidence, image: Path, disk_format: str, work_dir: Path
) -> list[PackageChange]:
    """Return what differs between two images, with the CVE ids that the newer one's files name.

    `image` is the newer one, as a file. Raises SourceError where it cannot be mounted.
    """
    changes = package_changes(before, after)
    if not any(change.before and change.after for change in changes):
        return list(changes)
    with mounted_image(image, disk_format, work_dir) as found:
        return list(_with_cves(changes, Tree(found.root)))


def _with_cves(changes: Iterable[PackageChange], tree: Tree) -> Iterable[PackageChange]:
    for change in changes:
        if change.before is None or change.after is None:
            yield change
            continue
        directory = f"{DOCUMENTATION}/{change.package.partition(':')[0]}"
        text = next(filter(None, (_text(tree, f"{directory}/{name}") for name in NAMES)), "")
        yield replace(change, cves=fixed_since(text, change.before))


def _text(tree: Tree, path: str) -> str:
    found = tree.resolve(path)
    if found is None or not found.is_file():
        return ""
    try:
        with gzip.open(found) as file:
            return file.read(LARGEST).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return ""
