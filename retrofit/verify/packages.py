"""The packages installed in an image, from dpkg's and Python's own records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser

from packaging.utils import canonicalize_name

from retrofit.verify.tree import Tree

VENV = "/opt/amphora-agent-venv"
SYSTEM_PYTHON = "/usr/lib/python3/dist-packages"


@dataclass(frozen=True, kw_only=True)
class DebianPackage:
    """An installed package of the distribution."""

    name: str
    version: str
    architecture: str
    source: str

    @property
    def upstream_version(self) -> str:
        """Return the version without Debian's epoch and revision: `2:3.0.11-1` -> `3.0.11`."""
        return re.sub(r"^\d+:", "", self.version).rpartition("-")[0] or self.version


@dataclass(frozen=True, kw_only=True)
class PythonDistribution:
    """An installed Python distribution."""

    name: str
    version: str
    directory: str
    requires: tuple[str, ...]


def debian_packages(tree: Tree) -> dict[str, DebianPackage]:
    """Read dpkg's status file; only what is fully installed counts."""
    found = {}
    for stanza in (tree.text_whole("/var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(
            line.partition(": ")[::2] for line in stanza.splitlines() if not line.startswith(" ")
        )
        if fields.get("Status", "").split()[-1:] != ["installed"] or not fields.get("Package"):
            continue
        package = DebianPackage(
            name=fields["Package"],
            version=fields.get("Version", ""),
            architecture=fields.get("Architecture", ""),
            source=fields.get("Source", fields["Package"]).partition(" ")[0],
        )
        found[package.name] = package
    return found


def site_packages(tree: Tree) -> list[str]:
    """Return the directories with the virtual environment's modules."""
    return [
        f"{directory}/site-packages"
        for directory in tree.glob(f"{VENV}/lib", "python3*")
        if tree.is_directory(f"{directory}/site-packages")
    ]


def python_distributions(tree: Tree, directory: str) -> dict[str, PythonDistribution]:
    """Read the metadata of what is installed in a directory, by normalised name."""
    found: dict[str, PythonDistribution] = {}
    for distribution in _distributions(tree, directory):
        found[canonicalize_name(distribution.name)] = distribution
    return found


def _distributions(tree: Tree, directory: str) -> Iterator[PythonDistribution]:
    for pattern, file in (("*.dist-info", "METADATA"), ("*.egg-info", "PKG-INFO")):
        for path in tree.glob(directory, pattern):
            text = tree.text(f"{path}/{file}") if tree.is_directory(path) else tree.text(path)
            if text is None:
                continue
            # The head alone: what follows may pretend to be a mail of a thousand parts.
            metadata = HeaderParser().parsestr(text)
            if metadata["Name"] and metadata["Version"]:
                yield PythonDistribution(
                    name=metadata["Name"],
                    version=metadata["Version"],
                    directory=path,
                    requires=tuple(metadata.get_all("Requires-Dist") or ()),
                )


def module_exists(tree: Tree, directory: str, module: str) -> bool:
    """Return True if a package or module of that name can be imported from a directory."""
    return (
        tree.is_file(f"{directory}/{module}/__init__.py")
        or tree.is_file(f"{directory}/{module}.py")
        or bool(tree.glob(directory, f"{module}.*.so"))
    )


def missing_modules(tree: Tree, directory: str, distribution: PythonDistribution) -> list[str]:
    """Return the files listed in a distribution's RECORD that are not there.

    Byte code is not counted: it is made when needed.
    """
    record = tree.text(f"{distribution.directory}/RECORD") or ""
    missing = []
    for line in record.splitlines():
        path = line.rpartition(",")[0].rpartition(",")[0].strip('"')
        if not path or path.endswith(".pyc") or path.startswith(".."):
            continue
        if tree.entry(f"{directory}/{path}") is None:
            missing.append(path)
    return missing
