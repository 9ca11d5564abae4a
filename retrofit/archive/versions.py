"""Versions of packages in the order of deb-version(7); pure."""

from __future__ import annotations

import re
from typing import Any

PART = re.compile(r"([^0-9]*)([0-9]*)")
END = ((0,), (0, ""))
"""What stands behind a version: below every letter, and above `~`."""


def debian_order(version: str) -> tuple[Any, ...]:
    """Return what versions are sorted by, as dpkg does."""
    epoch, colon, rest = version.partition(":")
    if not colon or re.fullmatch(r"[0-9]*", epoch) is None:
        epoch, rest = "", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return (_number(epoch), _parts(upstream), _parts(revision))


def _parts(text: str) -> tuple[Any, ...]:
    found = (match for match in PART.finditer(text) if match[0])
    parts = [((*map(_letter, part[1]), 0), _number(part[2])) for part in found]
    # Nothing, and a zero alone, are the same.
    return (END,) if parts == [END] else (*parts, END)


def _letter(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) + (0 if character.isascii() and character.isalpha() else 256)


def _number(digits: str) -> tuple[int, str]:
    """Return the order of a number of any length, which `int` would refuse."""
    significant = digits.lstrip("0")
    return (len(significant), significant)
