"""The operating system in an image's os-release(5), and its comparison with the record."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from retrofit.errors import SourceError

PLAIN = re.compile(r"[a-z0-9._-]{0,64}")
"""Valid values of these fields by os-release(5); they become environment and paths of a build."""


@dataclass(frozen=True, kw_only=True)
class OsRelease:
    """The fields that decide how an image is treated: `ubuntu`, `24.04`, `noble`."""

    id: str
    version_id: str
    codename: str

    def __str__(self) -> str:
        return f"{self.id} {self.version_id} ({self.codename or 'no codename'})"


def parse_os_release(text: str) -> OsRelease:
    """Parse an os-release file. Raises SourceError when it names no operating system."""
    fields = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            fields[key] = "".join(shlex.split(value))
        except ValueError:
            continue
    if not fields.get("ID"):
        raise SourceError(
            "the source's /etc/os-release names no operating system",
            hint="source images of Ubuntu and Debian have one",
        )
    found = OsRelease(
        id=fields["ID"],
        version_id=fields.get("VERSION_ID", ""),
        codename=fields.get("VERSION_CODENAME") or fields.get("UBUNTU_CODENAME", ""),
    )
    for value in (found.id, found.version_id, found.codename):
        if not PLAIN.fullmatch(value) or value.startswith((".", "-")):
            raise SourceError(
                f"the source's /etc/os-release has {value[:80]!r}, which is not a name or version",
                hint="download the image from its publisher again",
            )
    return found


def check_os(
    found: OsRelease, expected_distro: str, expected_version: str, *, allow_mismatch: bool
) -> None:
    """Compare an image's operating system with its record: `ubuntu`, `24.04`.

    Raises SourceError on a difference, unless `allow_mismatch`.
    """
    if allow_mismatch or (found.id, found.version_id) == (expected_distro, expected_version):
        return
    raise SourceError(
        f"the source is {found} inside, but its record has {expected_distro} {expected_version}",
        hint="choose another source, or set source.allow_os_mismatch if this is intended",
    )
