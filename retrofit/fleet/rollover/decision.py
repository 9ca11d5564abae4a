"""The next thing that a rollover does, and why; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from retrofit.config.rollover import RolloverSettings
from retrofit.fleet.rollover.candidates import Candidate
from retrofit.fleet.rollover.record import Halt, Record
from retrofit.fleet.rollover.windows import is_open, next_opening
from retrofit.plan.pause import Pause

SOON = timedelta(minutes=1)
"""When to look again at what nobody knows the end of."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a decision is made from.

    `in_flight` are load balancers that were asked to fail over and have not settled. `soak_from` is
    when the soak began, None where none is needed; `last_end` when the last failover ended, as far
    as Octavia's record of amphorae shows it. `obstacle` is what else speaks against a failover now:
    the operator's guard, a quota that is full, another image that Octavia would select.
    `without_room` are load balancers that the cloud has no room for now, and what it lacks.
    """

    now: datetime
    promoted: str | None
    record: Record | None = None
    halt: Halt | None = None
    pause: Pause | None = None
    candidates: tuple[Candidate, ...] = ()
    in_flight: frozenset[str] = frozenset()
    soak_from: datetime | None = None
    last_end: datetime | None = None
    obstacle: str | None = None
    without_room: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Left:
    """A load balancer that is due and not moved in this rollover, and why."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """Fail this load balancer over now."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Do nothing before `until`; None where nobody knows when, or for what is in flight.

    `short` is whether it is part of moving one load balancer after the other.
    """

    reason: str
    until: datetime | None = None
    settling: bool = False
    short: bool = False


@dataclass(frozen=True, kw_only=True)
class Halted:
    """Do nothing until an operator or a newer image ends it. A `new` halt is to be written."""

    halt: Halt | None
    reason: str
    load_balancer: str | None = None
    new: bool = False


@dataclass(frozen=True, kw_only=True)
class Done:
    """Nothing is due any more, but for what is left."""

    left: tuple[Left, ...] = field(default=())


RolloverDecision = Step | Wait | Halted | Done


def decide(situation: Situation, settings: RolloverSettings) -> RolloverDecision:
    """Return the next thing to do."""
    if situation.promoted is None or situation.record is None:
        return Wait(reason="no image of this target is promoted")
    if situation.halt is not None:
        return Halted(halt=situation.halt, reason=situation.halt.reason)
    if (doubted := _doubts(situation, settings)) is not None:
        return doubted
    due = due_now(situation.candidates, situation.in_flight)
    if not due:
        if situation.in_flight:
            return _settling(situation)
        return Done(left=left(situation.candidates))
    return _held_back(situation, settings) or _choose(situation, settings, due)


def due_now(
    candidates: Iterable[Candidate], in_flight: Collection[str] = ()
) -> tuple[Candidate, ...]:
    """Return the load balancers that are still to be moved."""
    return tuple(
        each
        for each in candidates
        if each.due is not None and each.left is None and each.id not in in_flight
    )


def cost(candidate: Candidate) -> tuple[bool, object]:
    """Order load balancers: canaries, then by what a failover costs, by age and name."""
    return not candidate.canary, candidate.stale.order


def left(candidates: Iterable[Candidate]) -> tuple[Left, ...]:
    """Return the load balancers that are due and stay, with the reasons."""
    return tuple(
        Left(id=each.id, name=each.load_balancer.name, reason=each.left)
        for each in sorted(candidates, key=lambda each: (each.load_balancer.name, each.id))
        if each.due is not None and each.left is not None
    )


def _doubts(situation: Situation, settings: RolloverSettings) -> Halted | None:
    """Return a halt where more has failed than may, by what Octavia shows and what we wrote.

    A canary that fails is one too many: that is what it is for.
    """
    failed = dict(situation.record.failed) if situation.record else {}
    for each in situation.candidates:
        if each.doubt is not None and each.id not in situation.in_flight:
            failed.setdefault(each.id, each.doubt.reason)
    canaries = {each.id for each in situation.candidates if each.canary} & failed.keys()
    if len(failed) <= settings.most_failures and not canaries:
        return None
    load_balancer, reason = next(
        (entry for entry in failed.items() if entry[0] in canaries), next(reversed(failed.items()))
    )
    return Halted(halt=None, reason=reason, load_balancer=load_balancer, new=True)


def _held_back(situation: Situation, settings: RolloverSettings) -> Wait | None:
    """Return what keeps every load balancer from being moved now."""
    now = situation.now
    if situation.pause is not None and situation.pause.in_force(now):
        return Wait(reason=situation.pause.phrase(), until=situation.pause.until)
    if situation.soak_from is not None:
        soaked = _end(situation.soak_from, timedelta(hours=settings.soak), now)
        if now < soaked:
            return Wait(reason=f"the image soaks (rollover.soak = {settings.soak})", until=soaked)
    if not is_open(settings, now):
        return Wait(reason="outside rollover.windows", until=next_opening(settings, now))
    if _busy(situation) >= settings.at_a_time:
        return _settling(situation)
    if situation.last_end is not None:
        rested = _end(situation.last_end, timedelta(seconds=settings.pause), now)
        if now < rested:
            return Wait(reason=f"rollover.pause = {settings.pause}", until=rested, short=True)
    if situation.obstacle is not None:
        return Wait(reason=situation.obstacle, until=now + SOON)
    return None


def _end(since: datetime, wait: timedelta, now: datetime) -> datetime:
    """Return when a wait ends.

    `since` is by a clock of another machine, and `now` by a header without fractions of a second: a
    time after `now` is one that has just passed.
    """
    return min(since, now) + wait


def _busy(situation: Situation) -> int:
    """Count what is in flight, and what looks like it: asked by a rollover that was killed."""
    pending = {each.id for each in situation.candidates if each.due and each.is_pending}
    stuck = {each.id for each in situation.candidates if each.left is not None}
    return len((pending - stuck) | situation.in_flight)


def _settling(situation: Situation) -> Wait:
    names = sorted(
        each.load_balancer.name or each.id
        for each in situation.candidates
        if each.id in situation.in_flight or (each.due and not each.left and each.is_pending)
    )
    return Wait(reason=f"Octavia works on {', '.join(names)}", settling=True)


def _choose(
    situation: Situation, settings: RolloverSettings, due: tuple[Candidate, ...]
) -> RolloverDecision:
    now = situation.now
    if settings.canaries:
        canaries = tuple(each for each in due if each.canary)
        if canaries:
            due = canaries
        elif (waits := _canaries_soak(situation, settings)) is not None:
            return waits
    idle = [each for each in due if not each.is_pending]
    ready = [each for each in idle if each.id not in situation.without_room]
    outages = is_open(settings, now, outage=True)
    # What is held back was asked before: an open window lets move what answers meanwhile.
    able = [each for each in ready if outages or not each.is_outage]
    if able:
        best = min(able, key=cost)
        kind = "canary: " if best.canary else ""
        return Step(candidate=best, reason=f"{kind}{best.due}; {best.stale.remark}")
    lacking = [
        each
        for each in idle
        if each.id in situation.without_room and (outages or not each.is_outage)
    ]
    if lacking:
        best = min(lacking, key=cost)
        return Wait(
            reason=f"no room for {best.name}: {situation.without_room[best.id]}", until=now + SOON
        )
    if not idle:
        return Wait(
            reason=f"Octavia works on {min(due, key=cost).name}", until=now + SOON, short=True
        )
    opening = next_opening(settings, now, outage=True)
    if opening is None:
        return Wait(
            reason="what is due would not answer during its failover, and no window of"
            " rollover.windows allows that"
        )
    return Wait(reason="outside the windows that allow outages", until=opening)


def _canaries_soak(situation: Situation, settings: RolloverSettings) -> Wait | None:
    """Return the wait for what the canaries show, once all of them have moved that can be."""
    named = [each for each in situation.candidates if each.canary]
    if not named:
        return Wait(
            reason="no load balancer of this target is among rollover.canaries:"
            f" {', '.join(settings.canaries)}"
        )
    if any(each.id in situation.in_flight for each in named):
        return _settling(situation)
    moved = [each.moved_at for each in named if each.moved]
    if not moved:
        return Wait(
            reason="none of the canaries can be moved: "
            + "; ".join(f"{each.load_balancer.name}: {each.left}" for each in named if each.left)
        )
    soaked = _end(max(moved), timedelta(hours=settings.canary_soak), situation.now)
    if situation.now < soaked:
        return Wait(
            reason=f"the canaries soak (rollover.canary_soak = {settings.canary_soak})",
            until=soaked,
        )
    return None
