"""Binary packages: as an archive lists them, as dpkg records them, and as files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Package:
    """A binary package of one version; `phased` is the percentage of an update's roll-out."""

    name: str
    version: str
    source: str = ""
    depends: str = ""
    architecture: str = "amd64"
    section: str = "net"
    installed_size: int = 100
    phased: int | None = None

    @property
    def control(self) -> str:
        """Return the fields that archive, dpkg and the file have alike."""
        lines = [
            f"Package: {self.name}",
            f"Version: {self.version}",
            f"Architecture: {self.architecture}",
            "Maintainer: Tests <tests@example.org>",
            f"Installed-Size: {self.installed_size}",
            f"Section: {self.section}",
            "Priority: optional",
            *([f"Source: {self.source}"] if self.source else []),
            *([f"Depends: {self.depends}"] if self.depends else []),
            "Description: a package of the tests",
        ]
        return "\n".join(lines) + "\n"

    def installed(self, want: str = "install") -> str:
        """Return the package's paragraph in dpkg's status."""
        first, rest = self.control.split("\n", 1)
        return f"{first}\nStatus: {want} ok installed\n{rest}\n"


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A binary package that somebody else made."""

    path: Path

    @property
    def name(self) -> str:
        """Return the package's name."""
        return self._field("Package")

    @property
    def version(self) -> str:
        """Return its version."""
        return self._field("Version")

    @property
    def architecture(self) -> str:
        """Return Debian's name of its architecture, or `all`."""
        return self._field("Architecture")

    @property
    def control(self) -> str:
        """Return all its fields."""
        return self._field()

    def _field(self, *name: str) -> str:
        asked = subprocess.run(
            ["dpkg-deb", "--field", self.path, *name], check=True, capture_output=True, text=True
        )
        return asked.stdout if not name else asked.stdout.strip()


def as_fix(package: Path, directory: Path) -> PackageFile:
    """Make a package of a newer version with the same content, as a fix is to apt."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    old = PackageFile(path=package).version
    text = control.read_text().replace(f"Version: {old}\n", f"Version: {old}+fix1\n")
    control.write_text(text)
    made = directory / "fixed.deb"
    build = ("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(made))
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(tree)
    return PackageFile(path=made)


def status_of(*packages: Package, held: tuple[str, ...] = ()) -> bytes:
    """Return dpkg's status of an image with these packages."""
    return "".join(
        each.installed("hold" if each.name in held else "install") for each in packages
    ).encode()


@cache
def file_of(package: Package) -> bytes:
    """Return the package as dpkg-deb makes it."""
    with tempfile.TemporaryDirectory() as directory:
        tree, made = Path(directory, "tree"), Path(directory, "made.deb")
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN").chmod(0o755)
        (tree / "DEBIAN/control").write_text(package.control)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, made],
            check=True,
            capture_output=True,
        )
        return made.read_bytes()


def listed(package: Package | PackageFile, file: bytes, where: str) -> str:
    """Return the package's paragraph in an archive's Packages."""
    percentage = package.phased if isinstance(package, Package) else None
    phased = "" if percentage is None else f"Phased-Update-Percentage: {percentage}\n"
    return (
        f"{package.control}{phased}Filename: {where}\nSize: {len(file)}\n"
        f"SHA256: {hashlib.sha256(file).hexdigest()}\n"
    )
