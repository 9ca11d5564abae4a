"""What an image is held against: the control plane, and the kinds of load balancers in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from retrofit.control_plane.certificates import Certificates
from retrofit.control_plane.configurations import Question, questions
from retrofit.control_plane.releases import ControlPlane

WAYS_OUT_BEGIN = "; ways out: "
"""Ends what a check found: the rest are the ways out."""
WAYS_OUT = (
    "upgrade the control plane first, build from an older series (source.series), or take HAProxy"
    " and agent of that release from a cloud archive (build.cloud_archive);"
    " octavia.compatibility.language = warn promotes all the same"
)

Guard = Literal["refuse", "warn", "ignore"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The control plane, and the kinds in use: None where Octavia does not show them.

    `certificates` are what it presents; None where nobody wants to know.
    """

    plane: ControlPlane
    used: frozenset[str] | None = None
    certificates: Certificates | None = None
    language: Guard = "refuse"
    version: Guard = "refuse"
    certificate_guard: Guard = "refuse"

    def questions(self) -> tuple[Question, ...]:
        """Return what to ask the image; nothing where nobody wants to know."""
        return () if self.language == "ignore" else questions(self.plane)


def without_ways_out(details: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split what failed checks found: what it is, and the ways out of it, each of them once."""
    parts = [detail.partition(WAYS_OUT_BEGIN) for detail in details]
    return [what for what, _, _ in parts], list(dict.fromkeys(way for _, _, way in parts if way))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one question; `refuses` is whether the image must not be promoted for it."""

    name: str
    refused: bool
    refuses: bool
    detail: str


def findings(
    expected: Expectation, answers: Mapping[str, str | None], *, proven: bool
) -> list[Finding]:
    """Judge an image by the words with which it refuses a text, None for one that it takes.

    A kind refuses the image only if it was asked itself (`proven`), no release in question avoids
    it, and a load balancer is of that kind or Octavia does not show their kinds.
    """
    asked = expected.questions()
    found = []
    for question in asked:
        refusals = [answers[text] for text in question.texts if answers.get(text) is not None]
        if not refusals:
            found.append(Finding(name=question.name, refused=False, refuses=False, detail="taken"))
            continue
        avoided = _avoided(question, asked, answers)
        unused = expected.used is not None and question.kind.name not in expected.used
        reasons = [f"octavia {expected.plane}: {refusals[0]}"]
        if not proven:
            reasons.append("inferred from the version of HAProxy")
        if avoided:
            reasons.append("another version in question writes what is taken")
        if unused:
            reasons.append(f"no load balancer has {question.kind.seen_by}")
        refuses = proven and expected.language == "refuse" and not avoided and not unused
        if refuses:
            reasons.append(f"ways out: {WAYS_OUT}")
        found.append(
            Finding(name=question.name, refused=True, refuses=refuses, detail="; ".join(reasons))
        )
    return found


def inferred(expected: Expectation, haproxy: str) -> dict[str, str | None]:
    """Return what HAProxy of a version is known to answer, as `findings` reads it."""
    answers: dict[str, str | None] = {}
    for question in expected.questions():
        for version in expected.plane.versions(question.release):
            form = question.kind.refusal(version, haproxy)
            if form is not None:
                text = question.text_of(version)
                answers[text] = f"HAProxy {haproxy} refuses `{form.text}`: {form.words}"
    return answers


def _avoided(
    question: Question, asked: Iterable[Question], answers: Mapping[str, str | None]
) -> bool:
    """Return True if a version in question writes the same kind in a form that is taken."""
    return any(
        answers.get(text) is None
        for other in asked
        if other.kind is question.kind
        for text in other.texts
    )
