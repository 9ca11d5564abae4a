"""An offer is compared with that of a failed build by its digest."""

from __future__ import annotations

from datetime import UTC, datetime

from retrofit.archive.offer import Offer, Update, UpdateKind

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def update(package: str, candidate: str, kind: UpdateKind = UpdateKind.OTHER) -> Update:
    return Update(package=package, source=package, installed="1", candidate=candidate, kind=kind)


def offer(*updates: Update) -> Offer:
    return Offer(checked_at=NOW, updates=updates, newest_index=NOW)


def test_updates_by_kind() -> None:
    fix, other = update("haproxy", "2", UpdateKind.SECURITY), update("vim", "3")
    assert offer(fix, other).of(UpdateKind.SECURITY) == (fix,)
    assert offer(fix, other).of(UpdateKind.HELD) == ()


def test_the_digest_is_of_what_a_build_would_take() -> None:
    one, two = update("a", "2"), update("b", "3")
    held = update("linux-image-amd64", "7", UpdateKind.HELD)
    assert offer(one, two).digest == offer(two, one, held).digest
    assert offer(one, two).digest != offer(one).digest
    assert offer(one, two).digest != offer(one, update("b", "4")).digest
    # Names and versions do not run into each other.
    assert offer(update("a", "b2")).digest != offer(update("ab", "2")).digest
