"""Notification events."""

from __future__ import annotations

import typing

from retrofit.config.notify import Event
from retrofit.notify.notification import Notification
from tools.reference import schema
from tools.reference.markdown import table

INTRODUCTION = """\
# Notification events

`notify.events` selects the changes of state that are reported.
[Notifications](../how-to/notifications.md) explains the delivery.
"""
MEANINGS = {
    "no_image": "Octavia finds no image: load balancers cannot start or fail over.",
    "image_found": "Octavia finds an image again.",
    "published": "Another image is promoted, by a run or by hand.",
    "failed": "A run failed, and the one before had not.",
    "recovered": "A run succeeded after failed ones.",
    "fixes_missing": "The promoted image lacks security fixes that it was not known to lack, and"
    " the run that found them brought none: it failed, is paused, or builds for none.",
    "rolled_over": "A rollover has ended: nothing is due any more but what stays for a reason.",
    "halted": "A rollover halted at a doubt; it goes on by `retrofit rollover --resume`.",
    "stale": "The promoted image is older than `publish.stale_after` days.",
}


def body() -> str:
    """Return the page."""
    rows = [(f"`{name}`", MEANINGS[name]) for name in typing.get_args(Event)]
    document = Notification.model_json_schema(mode="serialization")
    listed = table(("Event", "Meaning"), rows)
    return f"{INTRODUCTION}\n{listed}\n{schema.tables(document, title='Document')}"
