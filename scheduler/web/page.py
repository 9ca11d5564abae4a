"""From documents to HTML: what is shown, in which words; the templates say where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retrofit.overview import STATES
from retrofit.overview.words import HOW_VERIFIED, age
from retrofit.times import read_time
from retrofit.visible import visible

BAR = 1000.0
"""Width of the longest run's bar, in its own units."""
NARROWEST = 4.0
"""Width of a step that took next to no time: it was there."""
STEPS = {
    "preflight": "prepare",
    "plan": "prepare",
    "sweep": "prepare",
    "fetch": "fetch",
    "build": "build",
    "verify": "verify",
    "upload": "upload",
    "promote": "publish",
    "demote": "publish",
    "retire": "publish",
}
"""Step of a run -> the class that gives it its colour."""
HEADLINES = {
    "running": "A run of {} is going on",
    "unreachable": "The cloud of {} does not answer",
    "paused": "{} is paused",
    "failed": "The last run of {} failed",
    "waiting": "Builds of {} fail",
    "missing": "{} has no promoted image",
    "never_run": "{} has not run yet",
    "stale": "{} is stale",
}
OUTCOMES = {
    "published": "published a new image",
    "unchanged": "found nothing to do",
    "failed": "failed",
    "waiting": "waited: builds fail",
    "paused": "did nothing: paused",
    "busy": "gave way to another run",
    "promoted": "promoted by hand",
    "retired": "retired by hand",
}


def status_page(document: Mapping[str, Any]) -> str:
    """Return the status page of an overview."""
    targets = [
        {**target, "runs": with_bars(target["runs"]), "looks": look_of(target["state"])}
        for target in document["targets"]
    ]
    page = _environment().get_template("status.html")
    return page.render(document=document, targets=targets, headline=headline(targets))


def headline(targets: Sequence[Mapping[str, Any]]) -> str:
    """Say how everything stands in a few words: what is worst, first."""
    for look in ("bad", "warn", "running"):
        those = [target for target in targets if look_of(target["state"]) == look]
        if those:
            said = HEADLINES[those[0]["state"]].format(those[0]["target"])
            return said if len(those) == 1 else f"{said}, and {len(those) - 1} more to look at"
    if len(targets) == 1:
        return "The amphora image is current"
    return f"All {len(targets)} amphora images are current"


def run_page(
    run_id: str, report: Mapping[str, Any] | None, files: Sequence[tuple[str, int]]
) -> str:
    """Return the page of one run; `files` are names and sizes in bytes."""
    page = _environment().get_template("run.html")
    return page.render(run_id=run_id, report=report, files=files)


def look_of(state: str) -> str:
    """Return how a state is coloured; its word says it too."""
    if state in {"good", "running"}:
        return state
    return "bad" if state in {"failed", "missing", "unreachable"} else "warn"


def with_bars(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give every run the boxes of its steps, all to the scale of the longest run."""
    longest = max((run["seconds"] for run in runs), default=0.0)
    scale = BAR / longest if longest > 0 else 0.0
    drawn = []
    for run in runs:
        left, boxes = 0.0, []
        for step in run["steps"]:
            width = max(step["seconds"] * scale, NARROWEST)
            boxes.append(
                {
                    "x": round(left, 1),
                    "width": round(width, 1),
                    "name": step["name"],
                    "seconds": step["seconds"],
                    "kind": STEPS.get(step["name"], "prepare"),
                }
            )
            left += width
        told = [box for box in boxes if box["seconds"] >= 1]
        drawn.append({**run, "boxes": boxes, "told_steps": told})
    return drawn


def duration(seconds: float | None) -> str:
    """Say how long something took."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def time_tag(text: Any) -> Markup | str:
    """Show a time for people and for machines."""
    when = read_time(text)
    if when is None:
        return "unknown"
    tag = Markup('<time datetime="{}">{}</time>')
    return tag.format(when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M} UTC")


def size(number: int) -> str:
    """Say a number of bytes."""
    amount, unit = float(number), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 10 else f"{amount:.1f} {unit}"


def _finalized(value: Any) -> Any:
    """Let no character of others' text go unseen, or turn the order of what follows."""
    if isinstance(value, Markup):
        return value
    return visible(value) if isinstance(value, str) else value


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
    environment.filters.update(age=age, duration=duration, time=time_tag, size=size)
    environment.globals.update(
        states=STATES,
        outcomes=OUTCOMES,
        how_verified=HOW_VERIFIED,
    )
    return environment
