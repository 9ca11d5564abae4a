"""CVE ids in a package's Debian changelog; pure.

Every security update of Debian and Ubuntu names them there: deb-changelog(5) is the form.
"""

from __future__ import annotations

import re

ENTRY = re.compile(r"(?m)^\S+ \(([^)\s]+)\) [^;\n]+; ")
CVE = re.compile(r"\bCVE-[0-9]{4}-[0-9]{4,}\b")
REBUILD = re.compile(r"\+b[0-9]+$")
"""What a binary package's version has more than its source's, after a rebuild."""


def fixed_since(changelog: str, version: str) -> tuple[str, ...]:
    """Return the CVE ids in the entries above that of a version, in order.

    Where no entry is of that version, those of the newest entry: the others may be old ones.
    """
    starts = list(ENTRY.finditer(changelog))
    if not starts:
        return ()
    known = {version, REBUILD.sub("", version)}
    same = (entry.start() for entry in starts if entry[1] in known)
    newest = starts[1].start() if len(starts) > 1 else len(changelog)
    return tuple(dict.fromkeys(CVE.findall(changelog[: next(same, newest)])))
