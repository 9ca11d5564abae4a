"""The package archive, tried by apt; and the CAs that a build trusts besides the system's."""

from __future__ import annotations

from pathlib import Path

from retrofit.archive.attempt import try_archive, tryable
from retrofit.archive.evidence import Evidence
from retrofit.archive.offer import ArchiveError
from retrofit.config import BuildSettings
from retrofit.errors import BuildError
from retrofit.produce.preflight.tries import DoubtError
from retrofit.system.certificate_file import NoCertificateError, read_certificates


def try_packages(
    root: Path,
    *,
    evidence: Evidence | None,
    series: str | None,
    architecture: str,
    build: BuildSettings,
) -> str:
    """Have apt read the beginning of each index that a build will read.

    `evidence` is that of the promoted image, `architecture` Debian's name. Raises BuildError with
    apt's reason, DoubtError for sources that only the build can judge.
    """
    try:
        entries = tryable(evidence, series, build)
    except (ArchiveError, OSError) as error:
        raise DoubtError(
            f"the package archive cannot be tried: {error}",
            hint=error.hint if isinstance(error, ArchiveError) else "see build.apt_sources",
        ) from error
    if not entries.hosts:
        return "not known before the first build: the source image names its own archive"
    try:
        try_archive(root, entries, evidence=evidence, architecture=architecture, build=build)
    except ArchiveError as error:
        raise BuildError(
            f"the package archive cannot be used: {error.message}",
            hint="check build.archive_mirror, build.apt_sources, build.http_proxy and"
            f" build.ca_bundle; {error.hint}",
        ) from error
    return f"apt reads {', '.join(entries.hosts)}"


def try_ca_bundle(build: BuildSettings) -> str:
    """Read the certificates of build.ca_bundle. Raises BuildError."""
    if build.ca_bundle is None:
        return "not needed: build.ca_bundle is not set"
    try:
        found = read_certificates(build.ca_bundle)
    except NoCertificateError as error:
        raise BuildError(
            f"build.ca_bundle {build.ca_bundle} cannot be used: {error}",
            hint="give it the CA's certificates in PEM form, readable to the user of retrofit",
        ) from error
    return f"{len(found)} certificates"
