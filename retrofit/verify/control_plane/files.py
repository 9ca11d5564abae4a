"""What an image's files show of how it suits its control plane."""

from __future__ import annotations

from functools import partial

from retrofit.control_plane.certificates import CHECK, is_strict, judged
from retrofit.control_plane.expectation import Expectation
from retrofit.control_plane.version import version_findings
from retrofit.model import Outcome
from retrofit.verify.checks import Record
from retrofit.verify.control_plane.language import add
from retrofit.verify.offline.defects import has
from retrofit.verify.offline.rules import Subject

OUTCOMES = {
    "passed": Outcome.PASSED,
    "warned": Outcome.WARNED,
    "failed": Outcome.FAILED,
}


def judge_agent(expected: Expectation, subject: Subject, record: Record) -> None:
    """Add the checks of the agent against its control plane."""
    octavia = subject.distributions.get("octavia")
    if octavia is not None:
        add(version_findings(expected, octavia.version, partial(has, subject)), record)


def infer_certificates(expected: Expectation, subject: Subject, record: Record) -> None:
    """Judge an image that is not booted by the version of its Python; only warnings come of it."""
    known, python = expected.certificates, subject.python_version
    if known is None or python is None:
        return
    strict = is_strict(python)
    if known.client is None:
        if strict:
            record.add(
                CHECK,
                Outcome.WARNED,
                f"Python {python} refuses certificates made as the charm guide shows, and the"
                f" control plane's are not known ({known.source})",
                0.0,
            )
        return
    refusal = known.refusal(strict=strict)
    found = judged(known, refusal, guard=expected.certificate_guard, proven=False)
    record.add(CHECK, OUTCOMES[found.outcome], found.detail, 0.0)
