"""From documents to HTML: what is shown, in which words; the templates have the layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retrofit.runs.report_document import ReportDocument
from retrofit.status.document import run_document
from retrofit.status.models import (
    STATES,
    RunDocument,
    State,
    StatusDocument,
    TargetDetails,
)
from retrofit.status.sentences import HOW_VERIFIED, age
from retrofit.system.escape import escaped
from retrofit.system.sizes import size_in_words
from retrofit.times import iso, read_time

BAR = 1000.0
"""Width of the longest run's bar, in its own units."""
NARROWEST = 4.0
"""Width of a step that took next to no time: it was there."""
STEPS = {
    "preflight": "prepare",
    "plan": "prepare",
    "clean-up": "prepare",
    "fetch": "fetch",
    "build": "build",
    "verify": "verify",
    "upload": "upload",
    "promote": "publish",
    "demote": "publish",
    "retire": "publish",
}
"""Step of a run -> the class that gives it its colour."""
BAD = frozenset({"failed", "no_image", "cloud_unreachable"})
"""States that need an operator now."""
CHECKS = {"failed": -3, "warned": -2, "skipped": -1}
"""Outcomes of checks that a person has to see first."""
HEADLINES: Mapping[State, str] = {
    "no_image": "{} has no promoted image",
    "running": "A run of {} is in progress",
    "cloud_unreachable": "The cloud of {} does not answer",
    "paused": "{} is paused",
    "failed": "The last run of {} failed",
    "backoff": "Builds of {} fail",
    "never_run": "{} has not run yet",
    "stale": "{} is stale",
}
SILENT = {
    "cloud-denied": "The cloud of {} refuses the credentials",
    "config": "The cloud of {} is not configured",
}
"""Code of the error -> headline, where the cloud was reached, or could not be asked."""
OUTCOMES = {
    "published": "published a new image",
    "unchanged": "found nothing to do",
    "failed": "failed",
    "interrupted": "was interrupted",
    "backoff": "skipped: builds fail, the next try is later",
    "paused": "did nothing: paused",
    "locked": "another run holds the lock",
    "retired": "deleted images",
    "adopted": "adopted images",
    "resumed": "ended a pause",
}
BY_HAND = {
    "promote": "promoted an image",
    "rollback": "went back to an older image",
    "repair": "brought an image back: Octavia found none",
    "pause": "paused runs",
}
"""What a command of a person, or a repair, did where it did something."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A step of a run as a part of its bar."""

    x: float
    width: float
    name: str
    seconds: float
    kind: str


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run and its bar; `named_steps` are those that took long enough to be named."""

    run: RunDocument
    boxes: tuple[Box, ...]

    @property
    def named_steps(self) -> list[Box]:
        """Return the steps of at least a second."""
        return [box for box in self.boxes if box.seconds >= 1]


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A target, how it is coloured, and its runs with their bars."""

    target: TargetDetails
    looks: str
    runs: list[RunView]


def status_page(document: StatusDocument) -> str:
    """Return the status page."""
    views = [
        TargetView(target=target, looks=look_of(target.state), runs=with_bars(target.runs))
        for target in document.targets
    ]
    page = _environment().get_template("status.html")
    return page.render(document=document, views=views, headline=headline(document.targets))


def headline(targets: Sequence[TargetDetails]) -> str:
    """Return the status of all targets in a few words: the worst first."""
    for look in ("bad", "warn", "running"):
        those = [target for target in targets if look_of(target.state) == look]
        if those:
            first = those[0]
            worst = HEADLINES[first.state].format(first.target)
            if first.state == "cloud_unreachable" and first.cloud_error is not None:
                silent = SILENT.get(first.cloud_error.code)
                worst = silent.format(first.target) if silent else worst
            return worst if len(those) == 1 else f"{worst}, and {len(those) - 1} more to look at"
    if len(targets) == 1:
        return "The amphora image is current"
    return f"All {len(targets)} amphora images are current"


def run_page(run_id: str, report: ReportDocument | None, files: Sequence[tuple[str, int]]) -> str:
    """Return the page of one run; `files` are names and sizes in bytes."""
    page = _environment().get_template("run.html")
    drawn = None if report is None else with_bars([run_document(report, ())])[0]
    checks = () if report is None or report.verification is None else report.verification.checks
    return page.render(
        run_id=run_id,
        report=report,
        drawn=drawn,
        checks=sorted(checks, key=lambda check: CHECKS.get(check.outcome, 0)),
        files=files,
    )


def what_ended(action: str, outcome: str) -> str:
    """Return how a run or a command ended, in words."""
    if action in BY_HAND and outcome in {"promoted", "paused"}:
        return BY_HAND[action]
    words = OUTCOMES.get(outcome, outcome)
    if action == "run":
        return words
    # Whatever the command wanted, as far as it came.
    return "changed nothing" if outcome == "unchanged" else f"{action}: {words}"


def look_of(state: State) -> str:
    """Return how a state is coloured; it is written out as well."""
    if state in {"ok", "running"}:
        return state
    return "bad" if state in BAD else "warn"


def with_bars(runs: Sequence[RunDocument]) -> list[RunView]:
    """Give every run the boxes of its steps, all to the scale of the longest run."""
    longest = max((run.seconds for run in runs), default=0.0)
    scale = BAR / longest if longest > 0 else 0.0
    views = []
    for run in runs:
        left, boxes = 0.0, []
        for step in run.steps:
            width = max(step.seconds * scale, NARROWEST)
            boxes.append(
                Box(
                    x=round(left, 1),
                    width=round(width, 1),
                    name=step.name,
                    seconds=step.seconds,
                    kind=STEPS.get(step.name, "prepare"),
                )
            )
            left += width
        views.append(RunView(run=run, boxes=tuple(boxes)))
    return views


def duration(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def time_tag(value: datetime | str | None) -> Markup | str:
    """Return a time for people and for machines; properties of images have it as text."""
    when = value if isinstance(value, datetime) else read_time(value)
    if when is None:
        return "unknown"
    tag = Markup('<time datetime="{}">{}</time>')
    return tag.format(iso(when), f"{when:%Y-%m-%d %H:%M} UTC")


def _finalized(value: Any) -> Any:
    """Make every character of foreign text visible, and let none reverse what follows."""
    if isinstance(value, Markup):
        return value
    return escaped(value) if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("scheduler.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    environment.filters.update(age=age, duration=duration, time=time_tag, size=size_in_words)
    environment.globals.update(
        bad=BAD,
        what_ended=what_ended,
        states=STATES,
        outcomes=OUTCOMES,
        how_verified=HOW_VERIFIED,
    )
    return environment
