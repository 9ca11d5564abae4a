"""Pure: the options of package archives, in every form that octavia-diskimage-retrofit took."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SOURCES, KEY = "archive.sources", "cloud-archive-key.asc"
"""Files beside the configuration."""
UBUNTUS = frozenset({"391A9AA2147192839E9DB0315EDB1B62EC4926EA", "5EDB1B62EC4926EA", "EC4926EA"})
"""Names of Ubuntu's own key of the Cloud Archive, which its keyring package brings."""
ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"
LINE = re.compile(
    rf"(?P<line>deb(?:-src)?[ \t][^\n|]*)(?:\|\s*(?P<key>{ARMOR}.*?{END}|[^\n]*))?", re.DOTALL
)
ENTRY = re.compile(
    r"(?P<type>deb(?:-src)?)\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+://\S+)\s+(?P<suite>\S+)"
    r"(?P<components>(?:\s+\S+)*)\s*"
)
POCKET = re.compile(r"[a-z]+-(?P<kind>updates|proposed)/(?P<release>[a-z0-9.]+)/?")


class ArchiveOptionError(ValueError):
    """An option of an archive that cannot be used; the message names the option."""


@dataclass(frozen=True, kw_only=True)
class Archives:
    """What the options come to: settings of `[build]`, and files that these name."""

    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def archives(options: Mapping[str, Any], directory: str) -> Archives:
    """Return what the options of archives come to, with files below `directory`.

    Raises ArchiveOptionError.
    """
    settings: dict[str, Any] = {}
    files: dict[str, str] = {}
    mirror, security = options["ubuntu-mirror"].strip(), options["ubuntu-security-mirror"].strip()
    if mirror.startswith("deb"):
        if security:
            raise ArchiveOptionError(
                "option ubuntu-security-mirror has no use beside sources in ubuntu-mirror: name the"
                " security suite there"
            )
        files[SOURCES] = _sources(mirror)
        settings["apt_sources"] = f"{directory}/{SOURCES}"
    elif mirror or security:
        if mirror:
            settings["archive_mirror"] = _url("ubuntu-mirror", mirror)
        settings["security_mirror"] = _url("ubuntu-security-mirror", security or mirror)
    cloud, key = _cloud_archive(options)
    settings |= cloud
    if key:
        files[KEY] = key
        settings["cloud_archive_key"] = f"{directory}/{KEY}"
    return Archives(settings=settings, files=files)


def _url(option: str, text: str) -> str:
    if "://" not in text or len(text.split()) != 1:
        raise ArchiveOptionError(
            f"option {option} is {text!r}, expected a URL or lines `deb URL suite components`"
        )
    return text


def _sources(text: str) -> str:
    """Return the lines of a sources file as one in deb822 style, with their keys in it."""
    paragraphs = []
    rest = text.replace("\\n", "\n")
    for found in LINE.finditer(rest):
        entry = ENTRY.fullmatch(found["line"].strip())
        if entry is None or not (entry["components"].strip() or entry["suite"].endswith("/")):
            raise ArchiveOptionError(
                f"option ubuntu-mirror has a line {found['line'].strip()!r}, expected"
                " `deb URL suite components`"
            )
        paragraphs.append(_paragraph(entry, (found["key"] or "").strip()))
    left = LINE.sub("", rest).strip()
    if any(line.strip() and not line.lstrip().startswith("#") for line in left.splitlines()):
        raise ArchiveOptionError(f"option ubuntu-mirror has {left!r} besides its lines")
    return "\n".join(paragraphs)


def _paragraph(entry: re.Match[str], key: str) -> str:
    lines = [
        f"Types: {entry['type']}",
        f"URIs: {entry['uri']}",
        f"Suites: {entry['suite']}",
    ]
    if entry["components"].strip():
        lines.append(f"Components: {' '.join(entry['components'].split())}")
    for option in (entry["options"] or "").split():
        name, _, value = option.partition("=")
        if name == "arch":
            lines.append(f"Architectures: {value.replace(',', ' ')}")
        elif name == "signed-by" and not key:
            lines.append(f"Signed-By: {value.replace(',', ' ')}")
        elif name != "signed-by":
            raise ArchiveOptionError(
                f"option ubuntu-mirror has [{option}]; arch and signed-by are known"
            )
    if key:
        armored = _armored("ubuntu-mirror", key)
        lines.append("Signed-By:")
        lines += [f" {line.strip() or '.'}" for line in armored.splitlines()]
    return "\n".join(lines) + "\n"


def _armored(option: str, key: str) -> str:
    """Return a key in its ASCII form. Raises ArchiveOptionError for the name of a key."""
    if not key.startswith(ARMOR):
        raise ArchiveOptionError(
            f"option {option} names key {key!r}; retrofit asks no key server: give the key itself"
            " after the |, in ASCII form (gpg --export --armor)"
        )
    return f"{key}\n"


def _cloud_archive(options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Read both options of the cloud archive, and its key; the pocket that is named itself wins."""
    found: dict[str, Any] = {}
    mirror, _, key = (part.strip() for part in options["uca-mirror"].partition("|"))
    pocket = options["retrofit-uca-pocket"].strip()
    if mirror.startswith("ppa:"):
        found["ppas"] = [mirror]
    elif mirror.startswith("cloud:"):
        # cloud:jammy-caracal/proposed -> caracal-proposed, as add-apt-repository takes it.
        release, _, kind = mirror.removeprefix("cloud:").partition("-")[2].partition("/")
        if not release:
            raise ArchiveOptionError(
                f"option uca-mirror is {mirror!r}, expected cloud:<series>-<release>[/<pocket>]"
            )
        found["cloud_archive"] = f"{release}-{kind}" if kind else release
    elif mirror:
        found |= _mirror(mirror, pocket)
    if pocket:
        found["cloud_archive"] = pocket
    if not key or "cloud_archive_mirror" not in found:
        return found, ""
    name = "".join(key.split()).upper().removeprefix("0X")
    return found, "" if name in UBUNTUS else _armored("uca-mirror", key)


def _mirror(mirror: str, pocket: str) -> dict[str, Any]:
    """Return the settings of a mirror's URL, or of a line of sources, whose suite is a pocket."""
    entry = ENTRY.fullmatch(mirror)
    uri = entry["uri"] if entry is not None else mirror
    if "://" not in uri or len(uri.split()) != 1:
        raise ArchiveOptionError(
            f"option uca-mirror is {mirror!r}, expected a URL, `deb URL suite component`, cloud:..."
            " or ppa:..."
        )
    found: dict[str, Any] = {"cloud_archive_mirror": uri}
    suite = None if entry is None else POCKET.fullmatch(entry["suite"])
    if suite is not None:
        kind = "-proposed" if suite["kind"] == "proposed" else ""
        found["cloud_archive"] = f"{suite['release']}{kind}"
    elif not pocket:
        raise ArchiveOptionError(
            f"option uca-mirror is {mirror!r}, which names no pocket: the amphora's agent would be"
            " the distribution's; set retrofit-uca-pocket, such as caracal"
        )
    return found
