"""What the archive offers the promoted image, and whether it is a reason to build; pure.

An offer that a build did not bring is no reason again: the evidence of each image has what was
offered when its build was decided. What nobody knows is never a reason, always a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from retrofit.archive.offer import Offer, Update, UpdateKind
from retrofit.config import Target
from retrofit.model import Image
from retrofit.times import iso, read_time

NAMED = 3
"""Packages that a sentence names; the others are counted."""


def phrase_of_fixes(sources: Sequence[str], oldest: datetime | None, *, now: datetime) -> str:
    """Return "3 security fixes (haproxy, openssl, glibc), the oldest for 4 days".

    `sources` are the source packages, one for each fix.
    """
    number, names = len(sources), list(dict.fromkeys(sources))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    days = 0 if oldest is None else (now - oldest).days
    since = "" if days < 1 else f", the oldest for {days} day{'s' if days > 1 else ''}"
    return (
        f"{number} security fix{'' if number == 1 else 'es'}"
        f" ({', '.join(names[:NAMED])}{more}){since}"
    )


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What is known of the packages of one image.

    `offer` is the archive's answer; without one, `unknown` is the reason, and `unanswered` is
    whether the next question may have an answer, as it has not where evidence is lost. `offered`
    are packages and versions that were offered when the image was built, and which it lacks all the
    same. `first_seen` is since when each update is known here, by package and version.
    """

    image_id: str
    offer: Offer | None = None
    unknown: str | None = None
    unanswered: bool = False
    offered: frozenset[tuple[str, str]] = frozenset()
    first_seen: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

    def of(self, kind: UpdateKind) -> tuple[Update, ...]:
        """Return the updates of a kind; none where nothing is known."""
        return () if self.offer is None else self.offer.of(kind)

    def fresh(self, kind: UpdateKind) -> tuple[Update, ...]:
        """Return the updates of a kind that no build has failed to bring."""
        return tuple(update for update in self.of(kind) if update.key not in self.offered)

    @property
    def fixes(self) -> tuple[Update, ...]:
        """Return the updates with a security fix that a build may take."""
        return tuple(
            update
            for kind in (UpdateKind.SECURITY, UpdateKind.AGENT)
            for update in self.of(kind)
            if update.is_fix
        )

    @property
    def taken(self) -> frozenset[tuple[str, str]]:
        """Return what a build now would take, by package and version."""
        kinds = (UpdateKind.SECURITY, UpdateKind.OTHER, UpdateKind.AGENT)
        return frozenset(update.key for kind in kinds for update in self.of(kind))

    @property
    def whole_unknown(self) -> str | None:
        """Return what is not known: of the packages, or else of the agent."""
        if self.unknown is not None or self.offer is None:
            return self.unknown
        return self.offer.agent_unknown

    def since(self, updates: Iterable[Update]) -> datetime | None:
        """Return since when the oldest of some updates is known here."""
        known = (self.first_seen.get(update.key) for update in updates)
        return min((moment for moment in known if moment is not None), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types: `freshness` of a plan, and the record on this machine."""

        def listed(kind: UpdateKind) -> list[dict[str, Any]]:
            return [
                {
                    "package": update.package,
                    "source": update.source,
                    "installed": update.installed,
                    "candidate": update.candidate,
                    "cves": list(update.cves),
                    "security": update.is_fix,
                    "since": _iso(self.first_seen.get(update.key)),
                    "not_brought": update.key in self.offered,
                }
                for update in self.of(kind)
            ]

        offer = self.offer
        return {
            "image": self.image_id,
            "checked_at": None if offer is None else iso(offer.checked_at),
            "newest_index": None if offer is None else _iso(offer.newest_index),
            "security": listed(UpdateKind.SECURITY),
            "other": listed(UpdateKind.OTHER),
            "held": listed(UpdateKind.HELD),
            "agent": listed(UpdateKind.AGENT),
            "warnings": [] if offer is None else list(offer.warnings),
            "unknown": self.whole_unknown,
            "agent_unknown": None if offer is None else offer.agent_unknown,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Freshness | None:
        """Read what `as_dict` wrote; None for anything else."""
        try:
            checked_at = read_time(record["checked_at"])
            found = [(each, _update(each, kind)) for kind in UpdateKind for each in record[kind]]
            since = {update.key: read_time(each["since"]) for each, update in found}
            agent_unknown = record.get("agent_unknown")
            # Of an agent alone, the reason is written in both places.
            unknown = None if record["unknown"] == agent_unknown else record["unknown"]
            return cls(
                image_id=str(record["image"]),
                offer=None
                if checked_at is None
                else Offer(
                    checked_at=checked_at,
                    updates=tuple(update for _, update in found),
                    newest_index=read_time(record["newest_index"]),
                    warnings=tuple(map(str, record["warnings"])),
                    agent_unknown=None if agent_unknown is None else str(agent_unknown),
                ),
                unknown=None if unknown is None else str(unknown),
                offered=frozenset(
                    update.key for each, update in found if each["not_brought"] is True
                ),
                first_seen={named: time for named, time in since.items() if time is not None},
            )
        except (KeyError, TypeError):
            return None


def _update(record: Mapping[str, Any], kind: UpdateKind) -> Update:
    """Read an update. Raises KeyError or TypeError for another form."""
    return Update(
        package=str(record["package"]),
        source=str(record["source"]),
        installed=str(record["installed"]),
        candidate=str(record["candidate"]),
        kind=kind,
        has_fix=kind is not UpdateKind.SECURITY and record["security"] is True,
        cves=tuple(map(str, record["cves"])),
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def reasons(
    freshness: Freshness | None, target: Target, promoted: Image | None, now: datetime
) -> tuple[str, ...]:
    """Return why newer packages are a reason to build; empty when they are not.

    `now` is the time of the inventory. Security fixes wait for nothing.
    """
    rules = target.freshness
    if (
        freshness is None
        or freshness.unknown is not None
        or promoted is None
        or freshness.image_id != promoted.id
        or not rules.check
        or rules.build_for == "never"
    ):
        return ()
    # Releases of the agent come with every build, whatever is upgraded.
    kinds = [] if target.build.upgrade == "none" else [UpdateKind.SECURITY, UpdateKind.OTHER]
    new = [update for kind in (*kinds, UpdateKind.AGENT) for update in freshness.fresh(kind)]
    security = tuple(update for update in new if update.is_fix)
    if security:
        return (phrase(security, "security update"),)
    other = tuple(new)
    if rules.build_for != "any" or not other:
        return ()
    since = freshness.since(other)
    if now - promoted.created_at < timedelta(hours=rules.at_most_every):
        return ()
    if since is None or now - since < timedelta(hours=rules.gather):
        return ()
    return (phrase(other, "update"),)


def phrase(updates: tuple[Update, ...], name: str) -> str:
    """Return updates as a phrase: how many, the first of them with their versions."""
    shown = ", ".join(
        f"{update.package} {update.installed} -> {update.candidate}" for update in updates[:NAMED]
    )
    more = f", and {len(updates) - NAMED} more" if len(updates) > NAMED else ""
    return f"{len(updates)} {name}{'s' if len(updates) > 1 else ''}: {shown}{more}"


def notes(freshness: Freshness | None, target: Target) -> list[str]:
    """Return what an operator should know of the packages and no build mends by itself."""
    if freshness is None:
        return []
    found = []
    if freshness.unknown is not None:
        found.append(
            f"it is not known what is newer than in image {freshness.image_id}: {freshness.unknown}"
        )
    if freshness.offer is not None:
        found += freshness.offer.warnings
        if freshness.offer.agent_unknown is not None:
            found.append(
                f"it is not known whether the agent of image {freshness.image_id} has a newer"
                f" release: {freshness.offer.agent_unknown}"
            )
    lacking = [update for update in freshness.fixes if update.key in freshness.offered]
    if lacking:
        found.append(
            f"{phrase(tuple(lacking), 'security update')}: offered when image"
            f" {freshness.image_id} was built, and not in it; it is not built again for them"
        )
    held = [update for update in freshness.of(UpdateKind.HELD) if update.has_fix]
    if held:
        found.append(
            f"{phrase(tuple(held), 'security update')}: held in a build; they come with a newer"
            ' source image, or with build.upgrade = "all"'
        )
    security = freshness.of(UpdateKind.SECURITY)
    if security and target.build.upgrade == "none":
        found.append(
            f"{phrase(security, 'security update')}: no build brings them with"
            ' build.upgrade = "none"'
        )
    if freshness.fixes and target.freshness.build_for == "never":
        found.append(
            f"{phrase(freshness.fixes, 'security update')}: no reason to build with"
            ' freshness.build_for = "never"'
        )
    return found
