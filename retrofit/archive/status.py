"""dpkg's status of an image: which packages it has, and how to hold some of them; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from retrofit.archive.offer import ArchiveError

# deb-src-control(5): what a name may be; it becomes an argument of apt-cache.
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+", re.ASCII)
ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
STATE = re.compile(rb"(?im)^Status:[ \t]*(\S+)([ \t]+ok[ \t]+installed)[ \t]*$")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A package that is installed; `held` is dpkg's own selection.

    `source_version` is empty where it is the package's own.
    """

    package: str
    architecture: str
    source: str
    held: bool
    source_version: str = ""


def installed_packages(status: bytes) -> Iterator[Installed]:
    """Return what is installed. Raises ArchiveError for a name that no package has."""
    for paragraph in paragraphs(status):
        state = STATE.search(paragraph)
        if state is None:
            continue
        name = field(paragraph, "Package")
        architecture = field(paragraph, "Architecture") or "all"
        if NAME.fullmatch(name) is None or ARCHITECTURE.fullmatch(architecture) is None:
            raise ArchiveError(
                f"the image's dpkg status has a package {name[:60]!r} of {architecture[:20]!r}"
            )
        source, version = source_of(paragraph)
        yield Installed(
            package=name,
            architecture=architecture,
            source=source or name,
            held=state[1] == b"hold",
            source_version=version,
        )


def source_of(paragraph: bytes) -> tuple[str, str]:
    """Return name and version of a package's source, each empty where it is the package's own.

    `Source: lvm2 (2.03.16-3)` is the form where the versions differ.
    """
    name, _, version = field(paragraph, "Source").partition(" ")
    return name, version.strip("() ")


def version_of(status: bytes, name: str) -> str:
    """Return the version of an installed package without its epoch; empty where there is none."""
    for paragraph in paragraphs(status):
        if field(paragraph, "Package") == name and STATE.search(paragraph) is not None:
            return re.sub(r"^\d+:", "", field(paragraph, "Version"))
    return ""


def with_held(status: bytes, held: Collection[str]) -> bytes:
    """Return a status in which these packages are held, as `apt-mark hold` does it."""
    return b"\n\n".join(
        STATE.sub(rb"Status: hold\2", paragraph)
        if held and field(paragraph, "Package") in held
        else paragraph
        for paragraph in paragraphs(status)
    )


def paragraphs(status: bytes) -> list[bytes]:
    """Return the paragraphs of a status, one a package."""
    return status.replace(b"\r\n", b"\n").split(b"\n\n")


def field(paragraph: bytes, name: str) -> str:
    """Return a field of one line, empty where the paragraph has none."""
    found = re.search(rb"(?im)^%b:[ \t]*(.*)$" % name.encode(), paragraph)
    return found[1].decode(errors="replace").strip() if found else ""
