"""Settings, and values of them, that a release renamed or removed: refused, with what to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Change:
    """One setting, or one of its values, that is written differently since a release.

    `setting` and `now` are `section.key`; with `value` it is that value which changed, and `now`
    is the new value. Without `now` it was removed, and `instead` is what to do.
    """

    setting: str
    value: str | None = None
    now: str | None = None
    instead: str | None = None
    release: str

    def __str__(self) -> str:
        """Return the end of a message that begins with the setting and where it stands."""
        what = "" if self.value is None else f"{self.value} was "
        if self.now is None:
            return f"{what}removed in {self.release}: {self.instead}"
        return f"{what}renamed to {self.now} in {self.release}"


CHANGES = (
    Change(setting="octavia.ask", now="octavia.query", release="0.2.0"),
    Change(
        setting="publish.retire_unasked_after",
        now="publish.retire_after_unknown",
        release="0.2.0",
    ),
    Change(setting="publish.adopt", now="publish.replace_charm_images", release="0.2.0"),
    Change(setting="build.retry_at_most", now="build.retry_max", release="0.2.0"),
    Change(setting="notify.too_old", now="publish.stale_after", release="0.2.0"),
    Change(setting="notify.events", value="too_old", now="stale", release="0.2.0"),
    Change(
        setting="source.publish_stock",
        instead="the synchroniser is what puts source images into Glance",
        release="0.2.0",
    ),
)
"""docs/upgrading.md lists the same; oldest release first."""


def change_of(keys: Sequence[str], value: object) -> Change | None:
    """Return what became of the setting at `keys`, or of the `value` that it holds, if anything.

    `keys` leads there from the top of the file, or of a target's table; a list's item is named
    by its index.
    """
    setting = ".".join(keys[:2])
    for change in CHANGES:
        if change.setting == setting and (change.value is None or change.value == value):
            return change
    return None
