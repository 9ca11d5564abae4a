"""What builds and verifications hand on, in tests that have neither."""

from __future__ import annotations

import hashlib
from pathlib import Path

from retrofit.model import BuiltImage, Check, Outcome, Verdict


def built_image(
    path: Path, *, virtual_size: int = 8, min_disk: int = 3, evidence: Path | None = None
) -> BuiltImage:
    """Describe a file as a build describes its image."""
    data = path.read_bytes()
    return BuiltImage(
        path=path,
        disk_format="qcow2",
        size=len(data),
        virtual_size=virtual_size,
        min_disk=min_disk,
        sha512=hashlib.sha512(data).hexdigest(),
        evidence=evidence,
    )


def verdict_at(level: str, *, failing_check: str | None = None) -> Verdict:
    """Find an image good at a level, or bad by one check."""
    checks = [Check(name="haproxy", outcome=Outcome.PASSED, detail="2.8")]
    if failing_check is not None:
        checks.append(Check(name=failing_check, outcome=Outcome.FAILED, detail="not there"))
    how = level if level == "offline" else f"{level}-tcg"
    return Verdict(checks=tuple(checks), how=how, facts={"haproxy_version": "2.8.5"})
