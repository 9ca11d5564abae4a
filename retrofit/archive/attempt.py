"""Try the package archive as a build will ask it: by apt, with its keys, proxies and CAs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from retrofit.archive.evidence import (
    BUILD_SOURCES,
    CLOUD_ARCHIVE_SOURCES,
    OS_RELEASE,
    STATUS,
    Evidence,
)
from retrofit.archive.mirrors import mirrored
from retrofit.archive.offer import ArchiveError
from retrofit.archive.private_root import PrivateRoot, alone, lay_out
from retrofit.archive.sources import Entry, ending, entries_of, parse
from retrofit.config import BuildSettings
from retrofit.redaction import redacted
from retrofit.system.directories import make_directory

LIMIT = 90.0
"""Seconds for apt to read the signed beginnings of all indexes."""
HELPER = "/usr/lib/apt/apt-helper"
NOT_THE_PACKAGES = (
    "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Translations::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "pkgCacheFile::Generate=false",
)
"""Signature, dates and origin of an index are in its first file, of some hundred kilobytes."""
CLOUD_ARCHIVE = "http://ubuntu-cloud.archive.canonical.com/ubuntu"
PPAS = "https://ppa.launchpadcontent.net"
PPA_HOSTS = re.compile(r"https?://(?:[^/@]*@)?(?:private-)?ppa\.launchpad(?:content)?\.net/")
PPA = re.compile(r"ppa:([a-z0-9.+-]+)/(?:ubuntu/)?([a-z0-9.+-]+)")


@dataclass(frozen=True, kw_only=True)
class Tryable:
    """The entries that a build will use: those whose keys are known, and others."""

    checked: tuple[Entry, ...] = ()
    unchecked: tuple[Entry, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts of all entries, without credentials."""
        every = (uri for entry in (*self.checked, *self.unchecked) for uri in entry.uris)
        return tuple(dict.fromkeys(redacted(uri).split("/")[2] for uri in every))


def tryable(evidence: Evidence | None, series: str | None, build: BuildSettings) -> Tryable:
    """Return what is known of the archive that a build from a series will use.

    The evidence of an image of the same series has its sources and their keys; those that a
    setting had added then, and does not any more, are left out. Without evidence, only what the
    settings name is known. Raises ArchiveError for sources that cannot be read, OSError.
    """
    instead = None if build.apt_sources is None else build.apt_sources.read_bytes()
    named = tuple(_named(series, build))
    if evidence is not None and series is not None and series == _codename(evidence):
        found = mirrored(entries_of(evidence, instead=instead), build)
        known = tuple(each for each in found if _is_used(each, build))
        pairs = {pair for each in known for pair in _pairs(each)}
        return Tryable(
            checked=known, unchecked=tuple(each for each in named if not pairs >= _pairs(each))
        )
    given: list[Entry] = []
    if instead is not None:
        given = parse(f"build.apt_sources.{ending(instead)}", instead)
    return Tryable(
        checked=tuple(each for each in given if each.key),
        unchecked=(*(each for each in given if not each.key), *named),
    )


def try_archive(
    root: Path,
    entries: Tryable,
    *,
    evidence: Evidence | None,
    architecture: str,
    build: BuildSettings,
) -> None:
    """Read the beginning of every index; apt checks the signatures of those whose keys are known.

    `root` is a directory of ours for one target, `architecture` Debian's name. Raises ArchiveError.
    """
    try:
        make_directory(root)
        with alone(root):
            _try(root, entries, evidence, architecture, build)
    except OSError as error:
        raise ArchiveError(
            f"cannot try the archive in {root}: {error.strerror or error}",
            hint="see that the directory can be written, and has space",
        ) from error


def _try(
    root: Path,
    entries: Tryable,
    evidence: Evidence | None,
    architecture: str,
    build: BuildSettings,
) -> None:
    private = lay_out(
        root,
        evidence or Evidence(files={STATUS: b"\n"}),
        entries.checked,
        architectures=(architecture,),
        held=(),
        build=build,
    )
    if entries.checked:
        words = (f"--option={option}" for option in NOT_THE_PACKAGES)
        private.apt("apt-get", "update", *words, timeout=LIMIT)
    for entry in entries.unchecked:
        for uri, suite in sorted(_pairs(entry)):
            _download(private, uri, suite)


def _named(series: str | None, build: BuildSettings) -> Iterator[Entry]:
    """Yield what the settings name besides a file of sources."""
    if series is None:
        return
    if build.apt_sources is None:
        if build.archive_mirror is not None:
            yield _entry("build.archive_mirror", build.archive_mirror, series, f"{series}-updates")
        if build.security_mirror is not None:
            yield _entry("build.security_mirror", build.security_mirror, f"{series}-security")
    if build.cloud_archive is not None:
        uri = build.cloud_archive_mirror or CLOUD_ARCHIVE
        yield _entry("build.cloud_archive", uri, f"{series}-{_pocket(build.cloud_archive)}")
    for ppa in build.ppas:
        if (found := PPA.fullmatch(ppa)) is not None:
            yield _entry("build.ppas", f"{PPAS}/{found[1]}/{found[2]}/ubuntu", series)


def _pocket(name: str) -> str:
    """Return the end of a suite of the cloud archive: `updates/caracal`."""
    release = name.removesuffix("-updates")
    kind = "proposed" if release.endswith("-proposed") else "updates"
    return f"{kind}/{release.removesuffix('-proposed')}"


def _is_used(entry: Entry, build: BuildSettings) -> bool:
    """Return False for an entry that an earlier build added by a setting that is gone."""
    if entry.where.startswith(CLOUD_ARCHIVE_SOURCES):
        pocket = "" if build.cloud_archive is None else _pocket(build.cloud_archive)
        return bool(pocket) and any(suite.endswith(f"-{pocket}") for suite in entry.suites)
    if entry.where.startswith(BUILD_SOURCES):
        return build.apt_sources is not None
    ppas = [found for each in build.ppas if (found := PPA.fullmatch(each)) is not None]
    return all(
        any(f"/{found[1]}/{found[2]}/" in f"{uri}/" for found in ppas)
        for uri in entry.uris
        if PPA_HOSTS.match(uri)
    )


def _codename(evidence: Evidence) -> str | None:
    found = re.search(
        rb"(?m)^VERSION_CODENAME=\"?([a-z]+)\"?$", evidence.files.get(OS_RELEASE, b"")
    )
    return None if found is None else found[1].decode()


def _pairs(entry: Entry) -> set[tuple[str, str]]:
    return {(uri.rstrip("/"), suite) for uri in entry.uris for suite in entry.suites}


def _entry(where: str, uri: str, *suites: str) -> Entry:
    return Entry(where=where, uris=(uri,), suites=suites, components=("main",))


def _download(private: PrivateRoot, uri: str, suite: str) -> None:
    """Download the beginning of an index by apt's own methods. Raises ArchiveError."""
    with _without_credentials(private, uri) as bare:
        place = f"{bare}/{suite}" if suite.endswith("/") else f"{bare}/dists/{suite}/"
        into = str(private.path / "tmp" / "beginning")
        try:
            private.apt(HELPER, "download-file", f"{place}InRelease", into, timeout=LIMIT)
        except ArchiveError as error:
            if "404" not in error.message:
                raise
            private.apt(HELPER, "download-file", f"{place}Release", into, timeout=LIMIT)


@contextmanager
def _without_credentials(private: PrivateRoot, uri: str) -> Iterator[str]:
    """Give an address without its credentials, which apt has from a file (apt_auth.conf(5)).

    Everybody on a machine sees the words of a command.
    """
    file, parts = private.path / "etc/apt/auth.conf", urlsplit(uri)
    file.unlink(missing_ok=True)
    if parts.username is None:
        yield uri
        return
    host = parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=host).geturl()
    words = ["machine", f"{parts.scheme}://{host}", "login", unquote(parts.username)]
    if parts.password is not None:
        words += ["password", unquote(parts.password)]
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        if private.user is not None:
            os.fchown(opened.fileno(), *private.user)
        opened.write(" ".join(words) + "\n")
    try:
        yield bare
    finally:
        file.unlink()
