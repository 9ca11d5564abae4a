"""Records of known vulnerabilities as OSV's schema has them."""

from __future__ import annotations

import json
from typing import Any


def record(
    name: str = "haproxy",
    *events: tuple[str, str],
    ids: tuple[str, ...] = ("CVE-2026-1234",),
    ecosystem: str = "Ubuntu:24.04:LTS",
    **more: Any,
) -> dict[str, Any]:
    """Return a record of a package; `events` are kinds and versions."""
    own, *others = ids
    return {
        "schema_version": "1.7.0",
        "id": own,
        "aliases": others,
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [
                    {
                        "type": "ECOSYSTEM",
                        "events": [
                            {kind: version}
                            for kind, version in (events or (("introduced", "0"), ("fixed", "1.1")))
                        ],
                    }
                ],
            }
        ],
        **more,
    }


def as_bytes(*records: Any) -> bytes:
    """Return a file of one record, or of a list."""
    return json.dumps(records[0] if len(records) == 1 else list(records)).encode()
