"""Pure: the status of a unit from the answer of `retrofit status`.

The charm and retrofit are upgraded one after the other: words of both sides of a rename are
understood. What is not understood is blocked, never active.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["blocked", "waiting", "maintenance", "active"]
Status = tuple[Kind, str]

SERIES = {"20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"}
WORST_FIRST: tuple[Kind, ...] = ("blocked", "waiting", "maintenance", "active")
LONGEST = 240
"""Characters: `juju status` is a table."""
OLD_STATES = {
    "good": "ok",
    "missing": "no_image",
    "unreachable": "cloud_unreachable",
    "waiting": "backoff",
}
"""Words of retrofit 0.1 -> those of 0.2."""


class UnknownAnswerError(Exception):
    """The answer has a state that this charm does not know, or lacks a key that it needs."""


def unit_status(document: Mapping[str, Any], *, leader: bool, auto: bool) -> Status:
    """Return the status of a unit from `retrofit --output json status`.

    Of several targets the worst counts. Raises UnknownAnswerError.
    """
    try:
        targets = document.get("targets", [document])
        found = [(each["target"], *_of_target(each, auto=auto)) for each in targets]
        name, kind, text = min(found, key=lambda each: WORST_FIRST.index(each[1]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnknownAnswerError(repr(error)) from error
    if len(targets) > 1:
        text = f"{name}: {text}"
    if not leader:
        text += "; standby, the leader unit runs"
    elif not auto:
        text += "; auto-retrofit is off"
    return kind, text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def image_phrase(image: Mapping[str, Any] | None) -> str:
    """Name the promoted amphora image and its age."""
    if image is None:
        return "no amphora image"
    product = str(image["source_product_name"] or "").split(":")
    release = product[2] if len(product) == 4 else "custom"
    version = image["source_version_name"] or "of unknown version"
    return f"amphora image {_age(image['age_days'])} ({SERIES.get(release, release)} {version})"


def _of_target(target: Mapping[str, Any], *, auto: bool) -> Status:
    image, warnings = target["promoted"], target["warnings"]
    selected = target["octavia_image" if "octavia_image" in target else "octavia_takes"]
    phrase = image_phrase(image)
    match OLD_STATES.get(target["state"], target["state"]):
        case "cloud_unreachable":
            error = target["cloud_error"] or {}
            return "waiting", f"cloud does not answer: {error.get('message') or 'not asked yet'}"
        case "running":
            step = (target["running"] or {}).get("doing")
            return "maintenance", f"run in progress{f' ({step})' if step else ''}; {phrase}"
        case "paused":
            return "maintenance", f"paused: {target['paused']['reason']}; {phrase}"
        case "failed":
            error = (target["last_run"] or {}).get("error") or {}
            return "blocked", f"last run failed: {error.get('message') or 'see logs'}; {phrase}"
        case "backoff":
            failing = target["failing"] or {}
            return "blocked", f"builds fail: {failing.get('message') or 'see logs'}; {phrase}"
        case "no_image":
            error = (target.get("last_run") or {}).get("error") or {}
            why = f"; last run failed: {error['message']}" if error.get("message") else ""
            return "blocked", f"no amphora image is promoted: no load balancer can start{why}"
        case "never_run" if auto:
            return "waiting", "no amphora image yet: waiting for the first run"
        case "never_run":
            return "blocked", "no amphora image yet: run the action retrofit-image"
        case "stale" | "ok" as state:
            if image is not None and selected != image["id"]:
                return "blocked", f"Octavia selects another image: {selected or 'none'}; {phrase}"
            if state == "stale":
                return "blocked", f"stale: {target['summary']} {phrase}"
            return "active", f"{phrase}; {warnings[0]}" if warnings else phrase
    raise LookupError(f"unknown state {target['state']}")


def _age(days: float | None) -> str:
    if days is None:
        return "of unknown age"
    number, unit = (round(days * 24), "hour") if days < 2 else (round(days), "day")
    return f"{number} {unit}{'' if number == 1 else 's'} old"
