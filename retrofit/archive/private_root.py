"""A root directory for apt alone: an image's packages and sources, and nothing of this machine.

    apt.conf, status, etc/   written anew for each check, ours
    lists/, cache/, tmp/     apt's, which runs as a user without rights
    agent/                   uv's cache, where the agent comes from an index

They and what they start can read and write nothing else: see `retrofit.system.sandbox`.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from retrofit.archive.evidence import (
    EXTENDED_STATES,
    KEYRINGS,
    PREFERENCES,
    PREFERENCES_PARTS,
    STATUS,
    TRUSTED,
    TRUSTED_PARTS,
    Evidence,
)
from retrofit.archive.offer import ArchiveError
from retrofit.archive.root_files import (
    READABLE_BY_ALL,
    can_reach,
    is_own,
    make_readable,
    own_directory,
    remove,
    unprivileged,
    write_readable,
)
from retrofit.archive.sources import Entry
from retrofit.archive.status import with_held
from retrofit.config import BuildSettings
from retrofit.redaction import redacted
from retrofit.system.causes import causes
from retrofit.system.directories import make_directory
from retrofit.system.process import CommandError, Completed, OutOfTimeError, run
from retrofit.system.sandbox import sandboxed

SAFE = re.compile(r"/[A-Za-z0-9._+~/@:=-]+", re.ASCII)
APT_OWN = ("lists", "cache", "tmp")
"""Directories that apt writes to."""
NETWORK_FILES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols", "/etc/passwd", "/etc/group", "/etc/ssl", "/etc/gnutls",
    "/etc/crypto-policies", "/run/systemd/resolve",
)  # fmt: skip
"""What a program needs to find a host and to trust it."""
HOST_CAS = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED = (EXTENDED_STATES, PREFERENCES, TRUSTED)
PASSED_PARTS = (PREFERENCES_PARTS, TRUSTED_PARTS, *KEYRINGS)

MEMORY = 2 << 30
FILE = 512 << 20
"""Bytes of a file: the Packages of Ubuntu's universe have about 80 MB."""
CPU = 120
LIMITS = ("prlimit", f"--as={MEMORY}", f"--fsize={FILE}", f"--cpu={CPU}", "--core=0", "--")

CONFIGURATION = """\
Dir "{root}/";
Dir::State "{root}/";
Dir::State::lists "{root}/lists/";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/etc/extended_states";
Dir::Cache "{root}/cache/";
Dir::Log "{root}/tmp/";
Dir::Etc "{root}/etc/apt/";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Architecture "{architecture}";
APT::Architectures {{ {architectures} }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::Always-Include-Phased-Updates "true";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""
"""Always-Include-Phased-Updates as in the build, which is in a chroot; Sandbox::User, since apt
runs without rights from its start. Retries and timeouts (seconds) are those of one request."""


@dataclass(frozen=True, kw_only=True)
class PrivateRoot:
    """A root directory for apt, and how to run apt in it."""

    path: Path
    user: tuple[int, int] | None
    environment: dict[str, str]

    @property
    def lists(self) -> Path:
        """Return the directory of apt's indexes."""
        return self.path / "lists"

    @property
    def authorities(self) -> Path:
        """Return the file of certificates to trust, where `build.ca_bundle` has some."""
        return self.path / "etc/ca.pem"

    def apt(self, *words: str, timeout: float) -> Completed:
        """Run a program of apt's. `timeout` is in seconds. Raises ArchiveError."""
        return self.run(
            *words,
            name=" ".join(words[:2]),
            hint="see that apt is installed, and that this machine reaches the archive",
            timeout=timeout,
        )

    def run(
        self,
        *words: str,
        name: str,
        hint: str,
        timeout: float,
        read: Sequence[Path] = (),
        fill: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Completed:
        """Run a program that can read `read` besides the root. Raises ArchiveError with the hint.

        It writes to apt's directories, or to the one called `fill`, which stays. `timeout` is in
        seconds. A program that the user without rights cannot reach runs as we do.
        """
        user = self.user
        if user is not None and not all(can_reach(each, *user) for each in read):
            user = None
        if fill is not None and not is_own(self.path / fill, user):
            own_directory(self.path / fill, user)
        argv = sandboxed(
            *(*LIMITS, *words),
            read=[self.path, *NETWORK_FILES, *read],
            fill=[self.path / name for name in (APT_OWN if fill is None else (fill,))],
            connect=True,
            user=user,
        )
        whole = {**self.environment, **environment}
        try:
            return run(argv, timeout=timeout, env=whole, cwd=self.path)
        except OutOfTimeError as error:
            raise ArchiveError(f"{name} did not finish within {timeout:g} s", hint=hint) from error
        except CommandError as error:
            raise ArchiveError(f"{name} failed: {redacted(_reason(error))}", hint=hint) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file for a program to read, below `etc`. Raises OSError."""
        write_readable(self.path / "etc" / name, data)

    def forget(self, name: str) -> None:
        """Make one of apt's directories anew, empty. Raises OSError."""
        own_directory(self.path / name, self.user)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold a root for the length of the block; another holder has limits of time."""
    lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def lay_out(
    path: Path,
    evidence: Evidence,
    entries: Sequence[Entry],
    *,
    architectures: Sequence[str],
    held: Collection[str],
    build: BuildSettings,
) -> PrivateRoot:
    """Write a private root. The first of `architectures` is the image's own, as Debian names it.

    Files that are there already are replaced, apt's indexes stay. Raises OSError, ArchiveError.
    """
    if SAFE.fullmatch(str(path)) is None:
        raise ArchiveError(
            f"apt cannot use {path}", hint="choose a paths.cache without blanks and quotes"
        )
    make_directory(path)
    path.chmod(READABLE_BY_ALL)
    user = unprivileged(path)
    etc = path / "etc"
    remove(etc)
    for directory in ("apt/apt.conf.d", "apt/sources.list.d", *map(_inside, PASSED_PARTS)):
        make_readable(etc / directory, below=path)
    files = {name: data for name, data in evidence.files.items() if name in PASSED}
    for directory in PASSED_PARTS:
        files |= evidence.under(directory)
    for name, data in files.items():
        write_readable(etc / _inside(name), data)
    sources = "\n".join(
        entry.written(lambda image_path: str(etc / _inside(image_path.removeprefix("/"))))
        for entry in entries
    )
    write_readable(etc / "apt/sources.list.d/image.sources", sources.encode())
    write_readable(path / "status", with_held(evidence.files[STATUS], held))
    configuration = CONFIGURATION.format(
        root=path,
        architecture=architectures[0],
        architectures=" ".join(f'"{each}";' for each in architectures),
    )
    if build.ca_bundle is not None:
        cas = (HOST_CAS.read_bytes() if HOST_CAS.exists() else b"") + build.ca_bundle.read_bytes()
        write_readable(etc / "ca.pem", cas)
        configuration += f'Acquire::https::CAInfo "{etc}/ca.pem";\n'
    write_readable(path / "apt.conf", configuration.encode())
    made = PrivateRoot(path=path, user=user, environment=_environment(path, build))
    for name in APT_OWN:
        if name != "lists" or not is_own(path / name, user):
            made.forget(name)
    remove(made.lists / "partial")
    return made


def _inside(name: str) -> str:
    """Return where below `etc` a file of an image is."""
    head, _, rest = name.partition("/")
    if name == EXTENDED_STATES:
        return "extended_states"
    return rest if head == "etc" else f"usr/{rest}"


def _environment(path: Path, build: BuildSettings) -> dict[str, str]:
    """Return apt's environment: nothing of ours, and the proxies as a build has them."""
    proxies = {
        "http_proxy": build.http_proxy,
        "https_proxy": build.https_proxy,
        "no_proxy": build.no_proxy,
    }
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": "/nonexistent",
        "TMPDIR": str(path / "tmp"),
        "APT_CONFIG": str(path / "apt.conf"),
        **{name: value for name, value in proxies.items() if value},
    }


def _reason(error: CommandError) -> str:
    """Return the causes, where they are known; else how a story begins, and its end."""
    lines = [line.strip() for line in error.stderr.strip().splitlines()]
    named = causes(error.stderr.splitlines()) or [
        line[3:] for line in lines if line.startswith("E: ")
    ]
    if not named and len(lines) > 3:
        lines = [lines[0], *lines[-2:]]
    return "; ".join((named or lines or [error.message])[:3])
