"""Verification from beginning to end: offline checks, a boot, the evidence of both."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from retrofit.errors import ConfigError, SourceError, VerifyError
from retrofit.model import Outcome, Verdict
from retrofit.system.deadline import deadline
from retrofit.system.escape import escaped
from retrofit.system.resource_errors import resource_errors_as
from retrofit.verify import sbom
from retrofit.verify.boot import boot
from retrofit.verify.boot.checks import ASKED, CHECKS
from retrofit.verify.boot.registry import BootCheck, of_level, with_needs
from retrofit.verify.checks import Record
from retrofit.verify.control_plane.files import infer_certificates, judge_agent
from retrofit.verify.control_plane.language import infer_language
from retrofit.verify.mounting import mounted_image
from retrofit.verify.offline import RULES, Rule, Subject
from retrofit.verify.offline.software import newest_kernel
from retrofit.verify.request import VerifyRequest
from retrofit.verify.tree import Tree

FILESYSTEMS = "filesystems"
BILL = "bill-of-materials"
FILES = "files-against-control-plane"
LONGEST_PROPERTY = 255
INSIDE_TIMEOUT = 900.0
"""Seconds for all offline checks: they take a few, unless an image is made to keep us busy."""
QUESTION = re.compile(r"(haproxy|keepalived)-takes-.+")
"""Names of what the check `ASKED` adds, one for each kind of configuration and release."""


@resource_errors_as(VerifyError, "verify the image")
def verify(request: VerifyRequest) -> Verdict:
    """Check an amphora image at the configured level and leave the evidence in `request.log_dir`.

    All offline checks are run, also after a failure; an image that fails one is not booted. With
    `request.only`, these checks alone and what they need. Checks of a higher level are listed as
    skipped: nobody takes a level for one above it.
    A bad image is a verdict with failures; VerifyError means that this machine cannot verify.
    """
    record = Record()
    level = request.settings.level
    how, facts = "offline", {}
    request.work_dir.mkdir(parents=True, exist_ok=True)
    request.log_dir.mkdir(parents=True, exist_ok=True)
    try:
        rules, checks = chosen(request)
        facts = _look_inside(request, record, rules)
        if checks and not record.failed:
            accelerator, seen = boot(request, record, checks, full=level == "full", facts=facts)
            how, facts = f"{level}-{accelerator}", _as_properties({**facts, **seen})
        if not request.only:
            _list_left_out(record, level)
        if request.control_plane is not None and not request.only:
            if level == "offline":
                infer_language(request.control_plane, facts.get("haproxy_version"), record)
            if request.control_plane.plane.releases:
                facts["retrofit_octavia_release"] = request.control_plane.plane.span
    finally:
        _write_checks(record, how, facts, request)
        shutil.rmtree(request.work_dir, ignore_errors=True)
    return Verdict(checks=tuple(record.checks), how=how, facts=facts)


def check_names() -> tuple[str, ...]:
    """Return the names of all checks, in order."""
    return (*RULES, *(check.name for check in CHECKS))


def chosen(request: VerifyRequest) -> tuple[Mapping[str, Rule], tuple[BootCheck, ...]]:
    """Return the offline rules and the checks of a running amphora that are to be made.

    Raises ConfigError for a name in `request.only` that no check has, or none of this level.
    """
    checks = of_level(CHECKS, request.settings.level)
    if not request.only:
        return RULES, checks
    here = {*RULES, *(check.name for check in checks)}
    only = [ASKED if QUESTION.fullmatch(name) else name for name in request.only]
    for name in only:
        if name not in here:
            other = name in check_names()
            raise ConfigError(
                f"{name} is no check of level {request.settings.level}"
                if other
                else f"there is no check {name}",
                hint="set verify.level = full" if other else "docs/reference/checks.md lists them",
            )
    return (
        {name: rule for name, rule in RULES.items() if name in only},
        with_needs(checks, only),
    )


def _list_left_out(record: Record, level: str) -> None:
    """Add the checks that were not made: those of a higher level, and all boots of a bad file."""
    asked = {check.name for check in of_level(CHECKS, level)}
    for check in CHECKS:
        if check.name not in asked:
            reason = f"skipped: verify.level is {level}, this check belongs to {check.level}"
        elif record.outcome(check.name) is None:
            reason = "skipped: a check of the files failed, so the image was not booted"
        else:
            continue
        record.add(check.name, Outcome.SKIPPED, reason, 0.0)


def _look_inside(
    request: VerifyRequest, record: Record, rules: Mapping[str, Rule]
) -> dict[str, str]:
    """Run every offline check and write the bill of materials; return the versions found."""
    request.progress("looking into the image", None)
    started = time.monotonic()
    try:
        with mounted_image(
            request.image, request.disk_format, request.work_dir / "inside"
        ) as found:
            seconds = time.monotonic() - started
            mounted = ", ".join(filesystem.mount_point for filesystem in found.disk.mounted)
            record.add(FILESYSTEMS, Outcome.PASSED, mounted, seconds)
            space = os.statvfs(found.root)
            subject = Subject(
                tree=Tree(found.root),
                build=request.build,
                architecture=request.architecture,
                virtual_size=found.disk.virtual_size,
                free=space.f_bavail * space.f_frsize,
                free_inodes=space.f_favail,
            )
            end = time.monotonic() + INSIDE_TIMEOUT
            for number, (name, rule) in enumerate(rules.items()):
                request.progress(f"checking {name}", number / len(rules))
                record.attempt(name, partial(_before, end, rule, subject))
            _judge_files(request, subject, record, end)
            return _write_bill(subject, request.log_dir, record, end)
    except SourceError as error:
        record.add(FILESYSTEMS, Outcome.FAILED, error.message, time.monotonic() - started)
        return {}


def _judge_files(request: VerifyRequest, subject: Subject, record: Record, end: float) -> None:
    """Hold the files against the control plane, as far as no boot will show more."""
    expected = request.control_plane
    if expected is None or request.only:
        return

    def judge(subject: Subject) -> str:
        judge_agent(expected, subject, record)
        if request.settings.level == "offline":
            infer_certificates(expected, subject, record)
        return "judged"

    whole = Record()
    if not whole.attempt(FILES, partial(_before, end, judge, subject)):
        record.checks += whole.checks


def _before(end: float, rule: Rule, subject: Subject) -> str:
    """Run a rule until `end` of the monotonic clock. Raises TimeoutError then."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the checks before this one took all the time")
    with deadline(left, missing="no end of this check"):
        return rule(subject)


def _write_bill(subject: Subject, log_dir: Path, record: Record, end: float) -> dict[str, str]:
    """Write the bill of materials and return the versions; unreadable records are a failure."""
    facts: dict[str, str] = {}

    def write(subject: Subject) -> str:
        sbom.write(subject, log_dir)
        facts.update(_facts(subject))
        return f"{len(subject.packages)} packages"

    bill = Record()
    if not bill.attempt(BILL, partial(_before, end, write, subject)):
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
    """Turn the facts read from an image into property values that Glance accepts."""
    return {name: escaped(value)[:LONGEST_PROPERTY] for name, value in facts.items()}


def _write_checks(record: Record, how: str, facts: dict[str, str], request: VerifyRequest) -> None:
    content = {
        "how": how,
        "level": request.settings.level,
        "only": list(request.only),
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
    (request.log_dir / "checks.json").write_text(json.dumps(content, indent=2) + "\n")
