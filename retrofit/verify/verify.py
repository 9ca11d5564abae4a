"""Verification from beginning to end: look inside, boot, keep the evidence."""

from __future__ import annotations

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path

from retrofit.config import BuildSettings, VerifySettings
from retrofit.deadline import deadline
from retrofit.errors import SourceError, VerifyError
from retrofit.model import Outcome, Verdict
from retrofit.progress import Progress
from retrofit.shortage import told_as
from retrofit.verify import sbom
from retrofit.verify.boot import boot
from retrofit.verify.examination import Examination
from retrofit.verify.mounting import exposed
from retrofit.verify.offline import RULES, Rule, Subject
from retrofit.verify.offline.software import newest_kernel
from retrofit.verify.record import Record
from retrofit.verify.tree import Tree
from retrofit.visible import visible

FILESYSTEMS = "filesystems"
BILL = "bill-of-materials"
LONGEST_PROPERTY = 255
INSIDE_TIMEOUT = 900.0
"""Seconds for all offline checks: they take some, unless an image has files to keep us busy."""


@told_as(VerifyError, "verify the image")
def verify(
    image: Path,
    *,
    disk_format: str,
    settings: VerifySettings,
    build: BuildSettings,
    architecture: str,
    work_dir: Path,
    log_dir: Path,
    progress: Progress,
) -> Verdict:
    """Check an amphora image at the configured level and leave the evidence in `log_dir`.

    All offline checks are run, whatever fails; an image that fails one is not booted.
    A bad image is a verdict with failures; VerifyError means that this machine cannot verify.
    """
    examination = Examination(
        image=image,
        disk_format=disk_format,
        settings=settings,
        build=build,
        architecture=architecture,
        work_dir=work_dir,
        log_dir=log_dir,
        progress=progress,
    )
    record = Record()
    how, facts = "offline", {}
    work_dir.mkdir(parents=True, exist_ok=True)
    log_dir.mkdir(parents=True, exist_ok=True)
    try:
        facts = _look_inside(examination, record)
        if settings.level == "boot" and not record.failed:
            accelerator, seen = boot(examination, record)
            how, facts = f"boot-{accelerator}", _as_properties({**facts, **seen})
    finally:
        _write_checks(record, how, facts, log_dir)
        shutil.rmtree(work_dir, ignore_errors=True)
    return Verdict(checks=tuple(record.checks), how=how, facts=facts)


def _look_inside(examination: Examination, record: Record) -> dict[str, str]:
    """Run every offline check and write the bill of materials; return the versions found."""
    examination.progress("looking into the image", None)
    started = time.monotonic()
    try:
        with exposed(
            examination.image, examination.disk_format, examination.work_dir / "inside"
        ) as found:
            seconds = time.monotonic() - started
            mounted = ", ".join(filesystem.mount_point for filesystem in found.disk.mounted)
            record.add(FILESYSTEMS, Outcome.PASSED, mounted, seconds)
            space = os.statvfs(found.root)
            subject = Subject(
                tree=Tree(found.root),
                build=examination.build,
                architecture=examination.architecture,
                virtual_size=found.disk.virtual_size,
                free=space.f_bavail * space.f_frsize,
                free_inodes=space.f_favail,
            )
            end = time.monotonic() + INSIDE_TIMEOUT
            for number, (name, rule) in enumerate(RULES.items()):
                examination.progress(f"checking {name}", number / len(RULES))
                record.attempt(name, partial(_by, end, rule, subject))
            return _taken_down(subject, examination.log_dir, record, end)
    except SourceError as error:
        record.add(FILESYSTEMS, Outcome.FAILED, error.message, time.monotonic() - started)
        return {}


def _by(end: float, rule: Rule, subject: Subject) -> str:
    """Look at one thing until `end` of the monotonic clock. Raises TimeoutError then."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("what was looked at before took all the time")
    with deadline(left, missing="no end of this check"):
        return rule(subject)


def _taken_down(subject: Subject, log_dir: Path, record: Record, end: float) -> dict[str, str]:
    """Write the bill of materials and return the versions; records that nobody can read fail."""
    facts: dict[str, str] = {}

    def take_down(subject: Subject) -> str:
        sbom.write(subject, log_dir)
        facts.update(_facts(subject))
        return f"{len(subject.packages)} packages"

    bill = Record()
    if not bill.attempt(BILL, partial(_by, end, take_down, subject)):
        record.checks += bill.checks
    return facts


def _facts(subject: Subject) -> dict[str, str]:
    """Read the versions that become image properties."""
    facts = {}
    haproxy = subject.packages.get("haproxy")
    if haproxy is not None:
        facts["haproxy_version"] = haproxy.upstream_version
    octavia = subject.distributions.get("octavia")
    if octavia is not None:
        facts["amphora_agent_version"] = octavia.version
    kernel = newest_kernel(subject.tree)
    if kernel is not None:
        facts["kernel_version"] = kernel
    return _as_properties(facts)


def _as_properties(facts: dict[str, str]) -> dict[str, str]:
    """Make what an image says of itself values that Glance takes."""
    return {name: visible(value)[:LONGEST_PROPERTY] for name, value in facts.items()}


def _write_checks(record: Record, how: str, facts: dict[str, str], log_dir: Path) -> None:
    content = {
        "how": how,
        "facts": facts,
        "checks": [
            {
                "name": check.name,
                "outcome": str(check.outcome),
                "detail": check.detail,
                "seconds": check.seconds,
            }
            for check in record.checks
        ],
    }
    (log_dir / "checks.json").write_text(json.dumps(content, indent=2) + "\n")
