"""Notifications that are queued, and how a test of their receivers went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrofit.cli.form import Form
from retrofit.cli.render.form import fields, listed, structured
from retrofit.notify.outbox import QueuedNotification
from retrofit.times import iso


def show_notifications(
    tried: Mapping[str, str | None], queued: Sequence[QueuedNotification], output: Form | str
) -> None:
    """Print how a test went, and which notifications are still queued."""
    form = Form.of(output)
    if form.is_document:
        test = {name: {"delivered": error is None, "error": error} for name, error in tried.items()}
        waiting = [{"id": each.id, **each.as_dict()} for each in queued]
        structured({"test": test or None, "queued": waiting}, form)
        return
    if tried and not form.is_listed:
        fields({name: error or "delivered" for name, error in tried.items()})
    if not queued and not form.is_listed:
        fields({"queued": "nothing"})
        return
    rows = [
        {
            "Target": each.notification.target,
            "Event": each.notification.event,
            "Since": iso(each.notification.at),
            "For": each.to,
            "Attempts": each.attempts,
            "Last error": each.last_error,
        }
        for each in queued
    ]
    listed(rows, form)
