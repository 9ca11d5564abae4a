"""Evidence from what a build or an image holds: only what apt needs, and no password."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from retrofit.archive.evidence import (
    BUILD_SOURCES,
    CLOUD_ARCHIVE_SOURCES,
    HELD,
    KEYRINGS,
    MOST_BYTES,
    OS_RELEASE,
    SOURCES,
    SOURCES_PARTS,
    STATUS,
    Evidence,
    EvidenceError,
    is_evidence,
)
from retrofit.archive.offer import ArchiveError
from retrofit.archive.status import installed_packages
from retrofit.config import BuildSettings

CREDENTIALS = re.compile(rb"://[^/@\s]+@")
BOOT = re.compile(r"(grub|grub2|shim)-")
KERNEL_AND_BOOT = re.compile(r"(grub|grub2|shim)-|linux-(?!(base|libc-dev|sysctl-defaults)$)")
"""Names of packages that element stock-image holds; the first where all else is upgraded."""
SUFFIXES = frozenset({".list", ".sources"})
"""Endings of the files in sources.list.d that apt reads: others are backups and switched off."""


def from_tar(path: Path) -> Evidence:
    """Return the evidence in a tar file that programs of an image wrote.

    Raises EvidenceError where it is none: links, directories and other files are left out.
    """
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        with tarfile.open(path, mode="r:") as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                if not member.isfile() or not is_evidence(name):
                    continue
                left -= member.size
                if left < 0:
                    raise EvidenceError(f"evidence has more than {MOST_BYTES >> 20} MiB")
                content = archive.extractfile(member)
                files[name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise EvidenceError(f"evidence cannot be read: {error}") from error
    return of_files(files)


def of_files(files: Mapping[str, bytes]) -> Evidence:
    """Return the evidence in files of an image, by their paths in it.

    Keyrings are those that a source names, besides those that are trusted for all. Raises
    EvidenceError where there is no status of packages.
    """
    wanted = {name: data for name, data in files.items() if is_evidence(name)}
    sources = {name: CREDENTIALS.sub(b"://", wanted[name]) for name in wanted if is_source(name)}
    return Evidence(
        files={
            **{
                name: data
                for name, data in wanted.items()
                if not _is_unused_keyring(name, sources.values())
                and not name.startswith(f"{SOURCES_PARTS}/")
            },
            **sources,
        }
    )


def is_source(name: str) -> bool:
    """Return True if apt reads a file as a list of sources."""
    path = PurePosixPath(name)
    return name == SOURCES or (str(path.parent) == SOURCES_PARTS and path.suffix in SUFFIXES)


def _is_unused_keyring(name: str, sources: Iterable[bytes]) -> bool:
    if str(PurePosixPath(name).parent) not in KEYRINGS:
        return False
    return not any(f"/{name}".encode() in source for source in sources)


def with_settings(files: Mapping[str, bytes], build: BuildSettings) -> dict[str, bytes]:
    """Return files of an image with the sources that a build by these settings would have.

    For an image whose evidence is lost: it has its own sources again, and not those of its build.
    Raises EvidenceError for PPAs, whose keys are not in the image, and for a file of sources that
    cannot be read.
    """
    if build.ppas:
        raise EvidenceError("the keys of build.ppas are not in the image")
    found = {**files, HELD: _held(files.get(STATUS, b""), build)}
    if build.apt_sources is not None:
        given = _read(build.apt_sources)
        found = {name: data for name, data in found.items() if not is_source(name)}
        ending = "sources" if re.search(rb"(?m)^\s*Types:", given) else "list"
        found[f"{BUILD_SOURCES}{ending}"] = given
    if build.cloud_archive is not None:
        release = build.cloud_archive.removesuffix("-updates")
        pocket = "proposed" if release.endswith("-proposed") else "updates"
        codename = _codename(found.get(OS_RELEASE, b""))
        keyring = "usr/share/keyrings/ubuntu-cloud-keyring.gpg"
        if build.cloud_archive_key is not None:
            key = _read(build.cloud_archive_key)
            ending = "asc" if b"BEGIN PGP PUBLIC KEY BLOCK" in key else "gpg"
            keyring = f"usr/share/keyrings/stock-archive-cloud.{ending}"
            found[keyring] = key
        found[CLOUD_ARCHIVE_SOURCES] = (
            "Types: deb\nURIs: http://ubuntu-cloud.archive.canonical.com/ubuntu\n"
            f"Suites: {codename}-{pocket}/{release.removesuffix('-proposed')}\nComponents: main\n"
            f"Signed-By: /{keyring}\n"
        ).encode()
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror}") from error


def _held(status: bytes, build: BuildSettings) -> bytes:
    """Return what a build holds, by the rule of element stock-image."""
    held = BOOT if build.upgrade == "all" else KERNEL_AND_BOOT
    try:
        names = {each.package for each in installed_packages(status)}
    except ArchiveError as error:
        raise EvidenceError(error.message) from error
    return "".join(f"{name}\n" for name in sorted(names) if held.match(name)).encode()


def _codename(os_release: bytes) -> str:
    found = re.search(rb"(?m)^VERSION_CODENAME=\"?([a-z]+)\"?$", os_release)
    if found is None:
        raise EvidenceError("the image names no release of Ubuntu")
    return found[1].decode()
