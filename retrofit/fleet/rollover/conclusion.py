"""Whether a rollover in which nothing is due has ended; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from retrofit.fleet.rollover.candidates import Candidate
from retrofit.plan.freshness import Freshness


def undecided(candidates: Iterable[Candidate], known: Mapping[str, Freshness]) -> str | None:
    """Return why a load balancer may be due for a fix that nobody knows of now; None if none may.

    `known` is by the ids of images. Evidence that is lost stays lost: that keeps no rollover from
    its end. Nor does an archive that is closed for good, longer than `rollover.older_than`: by then
    what runs on such an image is due by age.
    """
    return next(
        (
            freshness.unknown
            for each in candidates
            if each.due is None and not each.moved
            for amphora in each.stale.amphorae
            if (freshness := known.get(amphora.image_id or "")) is not None and freshness.unanswered
        ),
        None,
    )
