"""The sources of an image, read as data of others: what apt gets is written anew; pure.

Only an address of http or https and the files of the evidence pass. Options that weaken what apt
requires are refused, as is all that this page does not know: apt's list of options grows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from retrofit.archive.evidence import (
    BUILD_SOURCES,
    CLOUD_ARCHIVE_SOURCES,
    KEYRINGS,
    SOURCES,
    SOURCES_PARTS,
    TRUSTED,
    TRUSTED_PARTS,
    Evidence,
)
from retrofit.archive.offer import ArchiveError
from retrofit.system.escape import escaped

MOST_BYTES = 1 << 20
LONGEST_LINE = 4096
MOST_TARGETS = 200
"""Indexes to fetch: an image has a dozen."""
SHOWN = 60

URI = re.compile(r"https?://[^\s\"\\<>|^`{}#]+", re.ASCII)
SUITE = re.compile(r"(?:\./|/|[A-Za-z0-9][A-Za-z0-9._+~-]*(?:/[A-Za-z0-9._+~-]+)*/?)", re.ASCII)
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~/-]*", re.ASCII)
FINGERPRINT = re.compile(r"[0-9A-Fa-f]{16,64}!?", re.ASCII)
ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

WEAKENING = frozenset(
    {"trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure"}
)  # fmt: skip
IGNORED = frozenset(
    {
        "languages", "targets", "pdiffs", "by-hash", "description",
        # Without them apt is stricter: it does not take an index that has run out.
        "check-valid-until", "check-date", "valid-until-min", "valid-until-max", "date-max-future",
    }
)  # fmt: skip
ONE_LINE_NAMES = {"arch": "architectures", "lang": "languages", "target": "targets"}
"""Options whose names differ from those of the fields in deb822 style (sources.list(5))."""
NO = frozenset({"no", "false", "without", "off", "disable", "0"})
YES = frozenset({"yes", "true", "with", "on", "enable", "1"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of a sources file; `signed_by` are paths in the image, or fingerprints."""

    where: str
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    key: str = ""
    """An armored key that stands in the entry itself."""

    @property
    def targets(self) -> int:
        """Return how many indexes the entry names."""
        each = len(self.uris) * len(self.suites) * max(1, len(self.components))
        return each * max(1, len(self.architectures))

    def written(self, path_of: Callable[[str], str] = lambda path: path) -> str:
        """Return the entry in deb822 style. `path_of` is where a file of the image is now."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
        ]
        if self.components:
            lines.append(f"Components: {' '.join(self.components)}")
        if self.architectures:
            lines.append(f"Architectures: {' '.join(self.architectures)}")
        if self.key:
            armored = "\n".join(f" {line or '.'}" for line in self.key.split("\n"))
            lines.append(f"Signed-By:\n{armored}")
        elif self.signed_by:
            words = (path_of(each) if "/" in each else each for each in self.signed_by)
            lines.append(f"Signed-By: {' '.join(words)}")
        return "\n".join(lines) + "\n"


def entries_of(evidence: Evidence, *, instead: bytes | None = None) -> tuple[Entry, ...]:
    """Return the entries of an image's sources. `instead` is the file of `build.apt_sources`.

    Raises ArchiveError for an entry that may not pass, and where there is none.
    """
    files = {name: data for name, data in evidence.files.items() if name == SOURCES}
    files |= evidence.under(SOURCES_PARTS)
    if instead is not None:
        # As the build does it: the file takes the place of all that the source had. Evidence of a
        # build has it under this name already, without the credentials that it may have had.
        own = [name for name in files if name.startswith(BUILD_SOURCES)]
        for name in own or [each for each in files if each != CLOUD_ARCHIVE_SOURCES]:
            del files[name]
        files[f"{BUILD_SOURCES}{ending(instead)}"] = instead
    entries = tuple(
        entry
        for name in sorted(files)
        if name.endswith((".list", ".sources"))
        for entry in parse(name, files[name])
    )
    if not entries:
        raise ArchiveError("the image's sources name no archive")
    if sum(entry.targets for entry in entries) > MOST_TARGETS:
        raise ArchiveError(f"the image's sources name more than {MOST_TARGETS} indexes")
    for entry in entries:
        for path in entry.signed_by:
            if "/" in path and not _is_keyring(path, evidence):
                raise _refusal(entry.where, "is signed by a file that the evidence lacks", path)
    return entries


def parse(name: str, data: bytes) -> list[Entry]:
    """Return the entries of a sources file, whose style its name's ending decides.

    Raises ArchiveError for an entry that may not pass.
    """
    if len(data) > MOST_BYTES:
        raise ArchiveError(f"{name} has more than {MOST_BYTES >> 20} MiB")
    lines = data.decode(errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE:
            raise ArchiveError(f"{name}: line {number} has {len(line)} characters")
    if name.endswith(".sources"):
        return list(_of_paragraphs(name, lines))
    return list(_of_lines(name, lines))


def ending(data: bytes) -> str:
    """Return the ending that element stock-archive gives a sources file."""
    return "sources" if re.search(rb"(?m)^[ \t]*Types:", data) else "list"


def _is_keyring(path: str, evidence: Evidence) -> bool:
    inside = path.removeprefix("/")
    directory = str(PurePosixPath(inside).parent)
    known = directory in {*KEYRINGS, TRUSTED_PARTS} or inside == TRUSTED
    return path.startswith("/") and known and inside in evidence.files


def _of_lines(name: str, lines: list[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        found = re.fullmatch(r"\s*([^\s#]+)(?:\s+\[([^]]*)\])?([^#]*)(?:#.*)?", line)
        if found is None:
            if line.strip() and not line.lstrip().startswith("#"):
                raise _refusal(where, "cannot be read", line)
            continue
        kind, bracket, rest = found[1], found[2] or "", found[3].split()
        if kind == "deb-src":
            continue
        if kind != "deb" or len(rest) < 2:
            raise _refusal(where, "is no entry of a package archive", line.strip())
        options: dict[str, str] = {}
        for option in bracket.split():
            key, sign, value = option.partition("=")
            if not sign:
                raise _refusal(where, "has an option without value", option)
            options[ONE_LINE_NAMES.get(key.lower(), key.lower())] = value.replace(",", " ")
        yield _entry(
            where, {**options, "uris": rest[0], "suites": rest[1], "components": " ".join(rest[2:])}
        )


def _of_paragraphs(name: str, lines: list[str]) -> Iterator[Entry]:
    fields: dict[str, str] = {}
    current = ""
    start = 1
    for number, line in enumerate([*lines, ""], 1):
        where = f"{name}, line {number}"
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield from _of_fields(f"{name}, line {start}", fields)
            fields, current = {}, ""
        elif line[0] in " \t":
            if not current:
                raise _refusal(where, "continues nothing", line.strip())
            fields[current] += "\n" + line.strip()
        else:
            key, sign, value = line.partition(":")
            current = key.strip().lower()
            if not sign or current in fields:
                raise _refusal(where, "is no field, or one for the second time", line.strip())
            start = start if fields else number
            fields[current] = value.strip()


def _of_fields(where: str, fields: dict[str, str]) -> Iterator[Entry]:
    if fields.pop("enabled", "yes").lower() in NO:
        return
    kinds = fields.pop("types", "").split()
    if not kinds or not set(kinds) <= {"deb", "deb-src"}:
        raise _refusal(where, "is no entry of a package archive", " ".join(kinds))
    if "deb" in kinds:
        yield _entry(where, fields)


def _entry(where: str, fields: dict[str, str]) -> Entry:
    for key, value in fields.items():
        if key in WEAKENING and value.lower() not in NO:
            raise _refusal(where, "turns off what apt requires of an archive", f"{key}={value}")
        if key == "snapshot" and value.lower() not in NO | YES:
            raise _refusal(where, "names a moment of the archive, not the present", value)
    known = {"uris", "suites", "components", "architectures", "signed-by", "snapshot"}
    for key in sorted(fields.keys() - known - WEAKENING - IGNORED):
        if not key.startswith("x-"):
            raise _refusal(where, "has an option that retrofit does not know", key)
    signed_by = fields.get("signed-by", "")
    key_block = signed_by.strip() if "-----BEGIN" in signed_by else ""
    return Entry(
        where=where,
        uris=_words(where, fields, "uris", URI),
        suites=_words(where, fields, "suites", SUITE),
        components=_words(where, fields, "components", WORD),
        architectures=_words(where, fields, "architectures", WORD),
        signed_by=() if key_block else _signers(where, signed_by),
        key=_armored(where, key_block),
    )


def _words(where: str, fields: dict[str, str], key: str, form: re.Pattern[str]) -> tuple[str, ...]:
    words = tuple(fields.get(key, "").split())
    for word in words:
        if form.fullmatch(word) is None or ".." in word.split("/"):
            reason = (
                "has an address that is neither http nor https"
                if key == "uris"
                else f"has {key} that cannot be"
            )
            raise _refusal(where, reason, word)
    if not words and key in {"uris", "suites"}:
        raise _refusal(where, f"has no {key}", "")
    return words


def _signers(where: str, value: str) -> tuple[str, ...]:
    words = tuple(value.replace(",", " ").split())
    for word in words:
        if not word.startswith("/") and FINGERPRINT.fullmatch(word) is None:
            raise _refusal(where, "is signed by neither a file nor a fingerprint", word)
    return words


def _armored(where: str, value: str) -> str:
    if not value:
        return ""
    lines = [line if line != "." else "" for line in value.split("\n")]
    good = re.compile(r"[A-Za-z0-9+/=: .,()_@<>-]*", re.ASCII)
    if lines[0] != ARMOR or not all(good.fullmatch(line) for line in lines):
        raise _refusal(where, "has a key that is none", lines[0])
    return "\n".join(lines)


def _refusal(where: str, reason: str, what: str) -> ArchiveError:
    shown = escaped(" ".join(what.split()))
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return ArchiveError(f"the image's sources: {where} {reason}: {shown}")
