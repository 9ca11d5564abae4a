"""Pure: what `retrofit status` says, as the status of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["blocked", "waiting", "maintenance", "active"]
Said = tuple[Kind, str]

SERIES = {"20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"}
WORST_FIRST: tuple[Kind, ...] = ("blocked", "waiting", "maintenance", "active")
LONGEST = 240
"""Characters: `juju status` is a table."""


def standing(document: Mapping[str, Any], *, leader: bool, auto: bool) -> Said:
    """Return the status of a unit from `retrofit --output json status`.

    Of several targets the one that needs somebody most is told.
    """
    targets = document.get("targets") or [document]
    said = [(each["target"], *_of(each, auto=auto)) for each in targets]
    name, kind, text = min(said, key=lambda each: WORST_FIRST.index(each[1]))
    if len(targets) > 1:
        text = f"{name}: {text}"
    if not leader:
        text += "; standby, the leader unit runs"
    elif not auto:
        text += "; auto-retrofit is off"
    return kind, text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def image_phrase(image: Mapping[str, Any] | None) -> str:
    """Say which amphora image stands, and how old it is."""
    if image is None:
        return "no amphora image"
    product = str(image.get("source_product_name") or "").split(":")
    release = product[2] if len(product) == 4 else "custom"
    version = image.get("source_version_name") or "of unknown version"
    return f"amphora image {_age(image['age_days'])} ({SERIES.get(release, release)} {version})"


def _of(target: Mapping[str, Any], *, auto: bool) -> Said:
    image = target["promoted"]
    stands = image_phrase(image)
    match target["state"]:
        case "unreachable":
            error = target["cloud_error"] or {}
            return "waiting", f"cloud does not answer: {error.get('message') or 'not asked yet'}"
        case "running":
            doing = (target["running"] or {}).get("doing")
            return "maintenance", f"run going on{f' ({doing})' if doing else ''}; {stands}"
        case "paused":
            return "maintenance", f"paused: {target['paused']['reason']}; {stands}"
        case "failed":
            error = (target["last_run"] or {}).get("error") or {}
            return "blocked", f"last run failed: {error.get('message') or 'see logs'}; {stands}"
        case "waiting":
            failing = target["failing"] or {}
            return "blocked", f"builds fail: {failing.get('message') or 'see logs'}; {stands}"
        case "missing":
            return "blocked", "no amphora image is promoted: no load balancer can start"
        case "never_run" if auto:
            return "waiting", "no amphora image yet: waiting for the first run"
        case "never_run":
            return "blocked", "no amphora image yet: run the action retrofit-image"
    taken = target["octavia_takes"]
    if image is not None and taken != image["id"]:
        return "blocked", f"Octavia takes another image: {taken or 'none'}; ours: {stands}"
    if target["state"] == "stale":
        return "blocked", f"stale: {target['summary']} {stands}"
    warnings = target["warnings"]
    return "active", f"{stands}; {warnings[0]}" if warnings else stands


def _age(days: float | None) -> str:
    if days is None:
        return "of unknown age"
    number, unit = (round(days * 24), "hour") if days < 2 else (round(days), "day")
    return f"{number} {unit}{'' if number == 1 else 's'} old"
