"""A changelog tells which CVEs a newer version fixes."""

from __future__ import annotations

import pytest

from retrofit.archive.changelog import fixed_since

CHANGELOG = """\
haproxy (3.0.11-1+deb13u5) trixie-security; urgency=high

  * d/patches: fix CVE-2026-110353 (Closes: #1)
  * CVE-2026-55203, CVE-2026-55204: again CVE-2026-55203.

 -- A <a@example.org>  Wed, 25 Nov 2026 10:00:00 +0000

haproxy (3.0.11-1+deb13u4) trixie-security; urgency=medium

  * Fix CVE-2025-1234.

 -- A <a@example.org>  Wed, 25 Nov 2025 10:00:00 +0000

haproxy (3.0.11-1) unstable; urgency=medium

  * New upstream version, (2.9.0-1) trixie; not an entry; CVE-2024-0001

 -- A <a@example.org>  Wed, 25 Nov 2024 10:00:00 +0000
"""
U5 = ("CVE-2026-110353", "CVE-2026-55203", "CVE-2026-55204")


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("3.0.11-1+deb13u5", ()),
        ("3.0.11-1+deb13u4", U5),
        ("3.0.11-1+deb13u4+b1", U5),
        ("3.0.11-1", (*U5, "CVE-2025-1234")),
        ("1.0", U5),
    ],
)
def test_entries_above_the_version_before(version: str, found: tuple[str, ...]) -> None:
    assert fixed_since(CHANGELOG, version) == found


@pytest.mark.parametrize("text", ["", "CVE-2026-1 without an entry", "\x00" * 100])
def test_what_is_no_changelog_has_none(text: str) -> None:
    assert fixed_since(text, "1.0") == ()
