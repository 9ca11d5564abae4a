"""How targets stand, in plain words; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from textwrap import shorten
from typing import Any, Literal

from retrofit.config import Settings
from retrofit.times import read_time

State = Literal[
    "running",
    "unreachable",
    "paused",
    "failed",
    "waiting",
    "missing",
    "never_run",
    "stale",
    "good",
]
STATES: Mapping[State, str] = {
    "running": "running",
    "unreachable": "cloud does not answer",
    "paused": "paused",
    "failed": "failed",
    "waiting": "waiting",
    "missing": "nothing promoted",
    "never_run": "never run",
    "stale": "stale",
    "good": "good",
}
"""Every state that a target can be in, and what people are shown."""
LONGEST = 300
"""Letters of a message that a sentence repeats; the report has all of it."""
HOW_VERIFIED = {
    "boot-kvm": "verified by booting it",
    "boot-tcg": "verified by booting it",
    "offline": "verified by looking inside",
}


def summary(document: Mapping[str, Any], settings: Settings, *, now: datetime) -> str:
    """Say in one or two sentences how a target stands."""
    state: State = document["state"]
    stands = _what_stands(document)
    match state:
        case "good":
            return stands
        case "running":
            return f"{_running(document, now)} {stands}"
        case "unreachable":
            return _unreachable(document, stands, now)
        case "paused":
            return f"{_paused(document['paused'])} {stands}"
        case "failed":
            return f"The last run failed: {_error_of(document)} {stands}"
        case "waiting":
            return f"{_waiting(document)} {stands}"
        case "stale":
            return f"{_stale(document, settings, now)} {stands}"
        case "missing" | "never_run":
            pass
    return stands


def next_sentence(planned: Mapping[str, Any], *, now: datetime) -> str:
    """Say when the next run is, what it will do, and why."""
    at = read_time(planned["at"])
    if at is None:
        start = "No worker runs here: the next run, by a timer or a person,"
    elif at <= now:
        start = "The next run, due now,"
    else:
        start = f"The next run, at {clock(at, now)},"
    why = "; ".join(planned["reasons"] or ())
    match planned["action"]:
        case "build":
            return f"{start} builds a new image: {why}."
        case "promote":
            return f"{start} promotes image {planned['promote']}: {why}."
        case "paused":
            return f"{start} does nothing, as the target is paused."
        case "wait":
            return f"{start} waits: builds from this source and recipe fail."
        case "fail":
            error = planned["error"] or {}
            return f"{start} fails: {_sentence(str(error.get('message') or 'nobody knows why'))}"
        case "none":
            return f"{start} finds nothing to do: the promoted image is current."
    return f"{start} decides when the cloud answers."


def clock(when: datetime, now: datetime) -> str:
    """Say a time shortly, in UTC."""
    return f"{when:%H:%M} UTC" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M} UTC"


def age(days: float | None) -> str:
    """Say an age: hours below two days, then days."""
    if days is None:
        return "of unknown age"
    if days < 0:
        return "from the future"
    number, unit = (int(days * 24), "hour") if days < 2 else (int(days), "day")
    return f"{number} {unit}{'' if number == 1 else 's'} old"


def _what_stands(document: Mapping[str, Any]) -> str:
    image = document["promoted"]
    if image is not None:
        how = HOW_VERIFIED.get(str(image.get("retrofit_verification")), "not verified")
        return f"{image['name']} is promoted, {age(image['age_days'])}, {how}."
    if document["asked_at"] is None:
        return "What is promoted is not known yet."
    if document["octavia_takes"]:
        return f"No image of this target is promoted; Octavia takes {document['octavia_takes']}."
    if "never_run" in document["states"]:
        return "No run has been made yet, and no image is promoted: no load balancer can start."
    return "No image is promoted: no load balancer can start."


def _running(document: Mapping[str, Any], now: datetime) -> str:
    going = document["running"]
    since = read_time(going["since"])
    begun = f" since {clock(since, now)}" if since else ""
    doing = f", now at the step {going['doing']}" if going["doing"] else ""
    after = " The one before failed." if {"failed", "waiting"} & set(document["states"]) else ""
    return f"A run is going on{begun}{doing}.{after}"


def _unreachable(document: Mapping[str, Any], stands: str, now: datetime) -> str:
    error, asked = document["cloud_error"], read_time(document["asked_at"])
    if error is None:
        return "The cloud has not been asked yet."
    said = f"The cloud does not answer: {_sentence(error['message'])}"
    return said if asked is None else f"{said} At {clock(asked, now)}: {stands}"


def _paused(pause: Mapping[str, Any]) -> str:
    until = read_time(pause["until"])
    end = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until somebody resumes it"
    return f"Paused by {pause['by']} {end}: {_sentence(pause['reason'])}"


def _waiting(document: Mapping[str, Any]) -> str:
    failing = document["failing"]
    if failing is None:
        return f"Builds fail: {_error_of(document)}"
    retry = read_time(failing["retry_at"])
    when = f"tried again from {retry:%Y-%m-%d %H:%M} UTC" if retry else "tried again later"
    return f"Builds fail ({failing['count']} times), {when}: {_sentence(failing['message'])}"


def _stale(document: Mapping[str, Any], settings: Settings, now: datetime) -> str:
    image = document["promoted"]
    if image is not None and image["age_days"] >= settings.notify.too_old:
        return f"The promoted image is older than {settings.notify.too_old} days."
    success = read_time(document["last_success_at"])
    since = f"since {clock(success, now)}" if success else "that is known here"
    return f"No run has succeeded {since}."


def _error_of(document: Mapping[str, Any]) -> str:
    error = (document["last_run"] or {}).get("error") or {}
    return _sentence(str(error.get("message") or "nobody knows why"))


def _sentence(text: str) -> str:
    """Give a message its full stop, and one line of a length that people read."""
    line = shorten(text, width=LONGEST, placeholder=" ...")
    return line if line.endswith((".", "!", "?")) else f"{line}."
