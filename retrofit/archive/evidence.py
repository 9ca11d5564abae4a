"""What a build leaves behind for apt: the packages of an image, and where they came from; pure.

apt needs dpkg's status whole: it tells builds of one version apart by a hash over dependencies and
Installed-Size, and offers a status that was cut short as upgrades to the same versions.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

STATUS = "var/lib/dpkg/status"
EXTENDED_STATES = "var/lib/apt/extended_states"
OS_RELEASE = "etc/os-release"
SOURCES = "etc/apt/sources.list"
SOURCES_PARTS = "etc/apt/sources.list.d"
BUILD_SOURCES = f"{SOURCES_PARTS}/stock-archive."
CLOUD_ARCHIVE_SOURCES = f"{SOURCES_PARTS}/stock-archive-cloud.sources"
"""Files of element stock-archive: that of `build.apt_sources` (of either style), the pocket's."""
TRUSTED = "etc/apt/trusted.gpg"
TRUSTED_PARTS = "etc/apt/trusted.gpg.d"
KEYRINGS = ("etc/apt/keyrings", "usr/share/keyrings")
PREFERENCES = "etc/apt/preferences"
PREFERENCES_PARTS = "etc/apt/preferences.d"
HELD = "retrofit/held"
"""Packages that the build held, a name a line: kernel and boot loaders come with the source."""
DATES = "retrofit/dates"
"""`Date:` of each index in force, a line each: name of apt's copy, a tab, the date."""
OFFERED = "retrofit/offered"
"""What the archive offered when the build was decided, a line each: package, a space, version."""
AGENT = "retrofit/agent"
"""The agent's Python distributions, where they are not packages: see `retrofit.archive.agent`."""
CHECKS = "retrofit/checks"
"""Outcome of each check of the verification, a line each: name, a tab, outcome."""
BILL = "retrofit/sbom.cdx.json"
"""The bill of materials, in CycloneDX."""

FILES = frozenset(
    {
        STATUS,
        EXTENDED_STATES,
        OS_RELEASE,
        SOURCES,
        TRUSTED,
        PREFERENCES,
        HELD,
        DATES,
        OFFERED,
        AGENT,
        CHECKS,
        BILL,
    }
)
DIRECTORIES = frozenset({SOURCES_PARTS, TRUSTED_PARTS, PREFERENCES_PARTS, *KEYRINGS})

MOST_FILES = 500
MOST_BYTES = 64 << 20
"""Bytes of all files together: dpkg's status of a server is about half a megabyte."""
NAME = re.compile(r"[A-Za-z0-9_+@:=~-][A-Za-z0-9._+@:=~-]*")


class EvidenceError(ValueError):
    """A bundle of evidence that no build of ours made."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Files of an image, by their paths in it without the first slash."""

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        """Raise EvidenceError for names or amounts that no build of ours leaves."""
        if len(self.files) > MOST_FILES:
            raise EvidenceError(f"evidence has {len(self.files)} files")
        if sum(map(len, self.files.values())) > MOST_BYTES:
            raise EvidenceError(f"evidence has more than {MOST_BYTES >> 20} MiB")
        for name in self.files:
            if not is_evidence(name):
                raise EvidenceError(f"evidence has a file {name[:100]!r}")
        if not self.files.get(STATUS):
            raise EvidenceError("evidence has no dpkg status")

    @property
    def held(self) -> frozenset[str]:
        """Return the packages that the build held."""
        return frozenset(self.files.get(HELD, b"").decode(errors="replace").split())

    @property
    def offered(self) -> frozenset[tuple[str, str]]:
        """Return the packages and versions that were offered when the build was decided.

        What an image lacks of them, its build did not bring: another one would not either.
        """
        lines = self.files.get(OFFERED, b"").decode(errors="replace").splitlines()
        return frozenset(
            (package, version) for package, _, version in (each.partition(" ") for each in lines)
        )

    @property
    def checks(self) -> dict[str, str]:
        """Return the outcome of each check of the verification."""
        lines = self.files.get(CHECKS, b"").decode(errors="replace").splitlines()
        return {name: outcome for name, _, outcome in (line.partition("\t") for line in lines)}

    def with_verification(self, checks: Mapping[str, str], bill: bytes | None) -> Evidence:
        """Return the evidence with outcomes by check, and the bill of materials if there is one."""
        lines = "".join(f"{name}\t{outcome}\n" for name, outcome in checks.items())
        more = {CHECKS: lines.encode(), **({} if bill is None else {BILL: bill})}
        return Evidence(files={**self.files, **more})

    def with_agent(self, agent: bytes) -> Evidence:
        """Return the evidence with the agent's Python distributions."""
        return Evidence(files={**self.files, AGENT: agent})

    def with_offered(self, offered: Iterable[tuple[str, str]]) -> Evidence:
        """Return the evidence with what was offered when its build was decided."""
        lines = "".join(f"{package} {version}\n" for package, version in sorted(offered))
        return Evidence(files={**self.files, OFFERED: lines.encode()})

    def under(self, directory: str) -> dict[str, bytes]:
        """Return the files of a directory, by their whole names."""
        return {name: data for name, data in self.files.items() if name.startswith(f"{directory}/")}


def is_evidence(name: str) -> bool:
    """Return True if a file of an image, by its path in it, belongs to evidence."""
    path = PurePosixPath(name)
    return name in FILES or (
        str(path) == name
        and str(path.parent) in DIRECTORIES
        and NAME.fullmatch(path.name) is not None
    )


def pack(evidence: Evidence) -> bytes:
    """Return a tar.xz of evidence: the same bytes for the same evidence."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(evidence.files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(evidence.files[name]), 0o644
            archive.addfile(member, io.BytesIO(evidence.files[name]))
    return lzma.compress(written.getvalue(), format=lzma.FORMAT_XZ, preset=6)


def digest_of(packed: bytes) -> str:
    """Return the digest of packed evidence that its image records: SHA-256 in hex."""
    return hashlib.sha256(packed).hexdigest()


def unpack(data: bytes) -> Evidence:
    """Return the evidence of a tar.xz that somebody else may have written.

    Raises EvidenceError for what `pack` never makes: links, other files, too many bytes.
    """
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 << 20)
    try:
        whole = reader.decompress(data, max_length=MOST_BYTES + (1 << 20))
    except (lzma.LZMAError, MemoryError) as error:
        raise EvidenceError(f"evidence is no xz file: {error}") from error
    if not reader.eof:
        raise EvidenceError("evidence is cut short or too large")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as archive:
            for member in archive:
                if not member.isfile() or len(files) >= MOST_FILES:
                    raise EvidenceError(f"evidence has an entry {member.name[:100]!r}")
                content = archive.extractfile(member)
                files[member.name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise EvidenceError(f"evidence is no tar file: {error}") from error
    return Evidence(files=files)
