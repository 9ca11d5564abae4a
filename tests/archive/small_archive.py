"""A signed archive in the layout of Ubuntu's: a release, its updates and its security updates.

Everything is real but the packages' content: dpkg-deb makes them, gpg signs, http serves.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from retrofit.archive.evidence import HELD, SOURCES_PARTS, STATUS, Evidence
from tests.archive.packages import Package, PackageFile, file_of, listed, status_of
from tests.archive.server import ArchiveServer, served

SUITES = ("noble", "noble-updates", "noble-security")
KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"


@dataclass
class SmallArchive:
    """An archive in a directory, that a server of ours serves."""

    directory: Path
    server: ArchiveServer
    home: Path
    """Directory of gpg's, with the key that signs."""
    architectures: Sequence[str] = ("amd64",)
    packages: dict[str, list[Package | PackageFile]] = field(
        default_factory=lambda: {s: [] for s in SUITES}
    )
    clock: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=6))

    @property
    def url(self) -> str:
        """Return the address of the archive."""
        return f"{self.server.url}/ubuntu"

    @property
    def keyring(self) -> bytes:
        """Return the public key, as an image has it."""
        return (self.directory / "keyring.gpg").read_bytes()

    def add(self, suite: str, *packages: Package | PackageFile) -> None:
        """Publish packages, in addition to those that the suite has."""
        self.packages[suite] += packages
        self.publish(suite)

    def replace(self, suite: str, *packages: Package) -> None:
        """Publish packages in place of those of the same names, as an archive does with a fix."""
        names = {each.name for each in packages}
        kept = [each for each in self.packages[suite] if each.name not in names]
        self.packages[suite] = [*kept, *packages]
        self.publish(suite)

    def publish(
        self, suite: str, *, date: datetime | None = None, valid_for: timedelta | None = None
    ) -> None:
        """Write and sign the index of a suite, a minute after the one before or at a time."""
        self.clock += timedelta(minutes=1)
        date = date or self.clock
        dist = self.www / "dists" / suite
        indexes: dict[str, bytes] = {}
        for architecture in self.architectures:
            text = "\n".join(
                self._entry(each)
                for each in self.packages[suite]
                if each.architecture in {architecture, "all"}
            ).encode()
            name = f"main/binary-{architecture}/Packages"
            indexes |= {name: text, f"{name}.xz": lzma.compress(text)}
        for name, data in indexes.items():
            (dist / name).parent.mkdir(parents=True, exist_ok=True)
            (dist / name).write_bytes(data)
        sums = "".join(
            f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
            for name, data in indexes.items()
        )
        until = f"Valid-Until: {_rfc(date + valid_for)}\n" if valid_for else ""
        (dist / "Release").write_text(
            f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: {suite}\nCodename: noble\nDate: {_rfc(date)}\n"
            f"{until}Architectures: {' '.join(self.architectures)}\nComponents: main\n"
            f"SHA256:\n{sums}"
        )
        self.sign(suite, date)

    def sign(self, suite: str, date: datetime, *, home: Path | None = None) -> None:
        """Sign a suite's index, by another key where `home` is another directory of gpg's."""
        dist = self.www / "dists" / suite
        _gpg(
            home or self.home,
            *("--clearsign", "--digest-algo", "SHA512", "-o", dist / "InRelease", dist / "Release"),
        )
        # Servers compare whole seconds: an index that is a second younger is none.
        for file in dist.rglob("*"):
            if file.is_file():
                os.utime(file, (date.timestamp(), date.timestamp()))

    def export_key(self) -> None:
        """Write the public key to where `keyring` reads it."""
        _gpg(self.home, "-o", self.directory / "keyring.gpg", "--export")

    def sources(self, suites: Sequence[str] = SUITES) -> bytes:
        """Return the sources of an image that was made of this archive."""
        return (
            f"Types: deb\nURIs: {self.url}\nSuites: {' '.join(suites)}\nComponents: main\n"
            f"Signed-By: /{KEYRING}\n"
        ).encode()

    def evidence(
        self,
        *installed: Package,
        held: Sequence[str] = (),
        files: dict[str, bytes] | None = None,
    ) -> Evidence:
        """Return what a build of an image with these packages left behind."""
        return Evidence(
            files={
                STATUS: status_of(*installed),
                HELD: "".join(f"{name}\n" for name in held).encode(),
                f"{SOURCES_PARTS}/ubuntu.sources": self.sources(),
                KEYRING: self.keyring,
                **(files or {}),
            }
        )

    @property
    def www(self) -> Path:
        """Return the directory that is served at `url`."""
        return self.directory / "www" / "ubuntu"

    def _entry(self, package: Package | PackageFile) -> str:
        where = f"pool/{package.name}_{package.version}_{package.architecture}.deb"
        made = package.path.read_bytes() if isinstance(package, PackageFile) else file_of(package)
        (self.www / "pool").mkdir(parents=True, exist_ok=True)
        (self.www / where).write_bytes(made)
        return listed(package, made, where)


@contextmanager
def small_archive(
    directory: Path, *, architectures: Sequence[str] = ("amd64",)
) -> Iterator[SmallArchive]:
    """Serve an empty signed archive on loopback for the length of the block."""
    (directory / "www" / "ubuntu").mkdir(parents=True)
    with signing_key() as home, served(directory / "www") as server:
        archive = SmallArchive(directory, server, home, architectures)
        archive.export_key()
        for suite in SUITES:
            archive.publish(suite)
        yield archive


@contextmanager
def signing_key() -> Iterator[Path]:
    """Make a key in a directory of its own, and with it end gpg's agent."""
    # Not below pytest's: the path of the agent's socket may have 108 characters.
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        try:
            make_key(home)
            yield home
        finally:
            end_agent(home)


def make_key(home: Path) -> None:
    """Make a signing key in a directory of gpg's."""
    _gpg(home, "--passphrase", "", "--quick-generate-key", "tests@example.org", "ed25519")


def end_agent(home: Path) -> None:
    """End gpg's agent, which every signature starts."""
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def _gpg(home: Path, *arguments: str | Path) -> None:
    subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--yes", "--quiet", *arguments],
        check=True,
        capture_output=True,
    )


def _rfc(when: datetime) -> str:
    return format_datetime(when, usegmt=True).replace("GMT", "UTC")
