"""What became of a failover: whether it ended, and ended well; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from retrofit.fleet.rollover.candidates import PENDING, Candidate, stuck
from retrofit.model import Amphora, LoadBalancer

STATUSES = ("ONLINE", "NO_MONITOR", "DRAINING", "DEGRADED", "OFFLINE", "ERROR")
"""Operating statuses of Octavia, the best first."""
GOOD = 2
"""So many of them are as good as each other."""
GONE_STATUSES = frozenset({"DELETED", "PENDING_DELETE"})


class Result(StrEnum):
    """What became of a failover."""

    PENDING = "pending"
    MOVED = "moved"
    FAILED = "failed"
    GONE = "deleted"
    UNCHANGED = "not moved"


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A failover that goes on: since when, and how the load balancer was before.

    `ours` is whether this rollover asked for it; others may as well, or change something else.
    `accepted` are the images that it may end on. `talks` is whether statistics of its amphorae came
    before: a disabled listener, or one of UDP without members, brings none.
    """

    candidate: Candidate
    asked_at: datetime
    accepted: frozenset[str]
    ours: bool = True
    talks: bool = True


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The result of a failover as far as it is known, with the reason."""

    result: Result
    reason: str = ""
    wrong_image: bool = False


def settled(
    flight: Flight,
    load_balancer: LoadBalancer | None,
    amphorae: tuple[Amphora, ...],
    talking: Mapping[str, bool],
    *,
    now: datetime,
    timeout: timedelta,
) -> Settled:
    """Return what became of a failover, by what Octavia shows now.

    `talking` is, by id of amphora, whether statistics of it came; those that are missing were not
    asked. Octavia says ACTIVE as soon as its flow has ended: whether the new amphorae serve, their
    heartbeats show, some seconds later.
    """
    if load_balancer is None or load_balancer.provisioning_status == "DELETED":
        return Settled(result=Result.GONE)
    name, status = flight.candidate.name, load_balancer.provisioning_status
    overdue = now - flight.asked_at >= timeout
    if status == "ERROR":
        return Settled(result=Result.FAILED, reason=f"{name} is in ERROR")
    if status.startswith(PENDING):
        if not overdue:
            return Settled(result=Result.PENDING, reason=f"it is {status}")
        if status == "PENDING_DELETE":  # its owner's wish, and no failover of ours
            return Settled(result=Result.GONE)
        return Settled(result=Result.FAILED, reason=stuck(load_balancer))
    live = [each for each in amphorae if each.status not in GONE_STATUSES]
    before = {each.id for each in flight.candidate.stale.amphorae}
    if trouble := _wrong_image(flight, live, before):
        return Settled(result=Result.FAILED, reason=trouble, wrong_image=True)
    if any(each.id in before and each.image_id not in flight.accepted for each in live):
        if not flight.ours:
            return Settled(result=Result.UNCHANGED, reason="Octavia has done something else to it")
        return Settled(
            result=Result.FAILED,
            reason=f"{name} is {status}, and an amphora of it was not replaced",
        )
    missing = _missing(flight, load_balancer, live, talking)
    if missing is None:
        return Settled(result=Result.MOVED)
    if not overdue:
        return Settled(result=Result.PENDING, reason=missing)
    seconds = round(timeout.total_seconds())
    return Settled(result=Result.FAILED, reason=f"{name}: {missing}, {seconds} s after the request")


def is_worse(before: str, now: str) -> bool:
    """Return True for an operating status that is worse than the one before."""
    return _rank(now) > _rank(before)


def _rank(status: str) -> int:
    rank = STATUSES.index(status) if status in STATUSES else len(STATUSES)
    return max(rank, GOOD - 1)


def _wrong_image(flight: Flight, live: list[Amphora], before: set[str]) -> str | None:
    wrong = [
        each
        for each in live
        if each.id not in before
        and each.image_id is not None
        and each.image_id not in flight.accepted
    ]
    if not wrong:
        return None
    return (
        f"amphora {wrong[0].id} of {flight.candidate.name} started from image"
        f" {wrong[0].image_id}, not from the promoted one: see the tag and the owner that Octavia"
        " and its flavor look for"
    )


def _missing(
    flight: Flight,
    load_balancer: LoadBalancer,
    live: list[Amphora],
    talking: Mapping[str, bool],
) -> str | None:
    """Return what is still missing to a failover that ended well."""
    for each in live:
        if each.status != "ALLOCATED" or each.image_id is None:
            return f"amphora {each.id} is {each.status}"
    if not live:
        return "it has no amphora"
    silent = [each.id for each in live if flight.talks and talking.get(each.id) is False]
    if silent:
        return f"amphora {silent[0]} has sent no statistics"
    was = flight.candidate.load_balancer.operating_status
    if is_worse(was, load_balancer.operating_status):
        return f"its operating status is {load_balancer.operating_status}, and was {was}"
    return None
