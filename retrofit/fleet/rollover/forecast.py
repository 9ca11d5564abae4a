"""The whole schedule of a rollover, by the decisions that it will make; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from retrofit.config.rollover import RolloverSettings
from retrofit.fleet.rollover.candidates import Candidate
from retrofit.fleet.rollover.decision import (
    Done,
    Halted,
    RolloverDecision,
    Situation,
    Step,
    decide,
)

SINGLE_SECONDS = 90.0
PAIR_SECONDS = 180.0
"""How long a failover takes in a cloud, where no history tells: boot, plug, configure."""
LONGEST = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A failover that is to come."""

    at: datetime
    candidate: Candidate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """All failovers to come, if none fails; `end` is the decision after the last one."""

    steps: tuple[Planned, ...]
    end: RolloverDecision
    ends_at: datetime


def usual_seconds(candidate: Candidate) -> float:
    """Return how long a failover of a load balancer takes."""
    return SINGLE_SECONDS if candidate.is_outage else PAIR_SECONDS


def forecast(situation: Situation, settings: RolloverSettings) -> Forecast:
    """Return what a rollover will do and when, as far as nothing else changes."""
    now = replace(situation, obstacle=None, candidates=tuple(map(_settled, situation.candidates)))
    steps: list[Planned] = []
    ends: dict[str, datetime] = {}
    horizon = situation.now + LONGEST
    while True:
        decision = decide(now, settings)
        if isinstance(decision, Step):
            steps.append(Planned(at=now.now, candidate=decision.candidate, reason=decision.reason))
            took = timedelta(seconds=usual_seconds(decision.candidate))
            ends[decision.candidate.id] = now.now + took
            now = replace(now, in_flight=frozenset(ends))
            continue
        if isinstance(decision, (Done, Halted)):
            return Forecast(steps=tuple(steps), end=decision, ends_at=now.now)
        ended = min(ends, key=lambda each: ends[each], default=None)
        if ended is not None and (decision.until is None or ends[ended] <= decision.until):
            now = _after(now, ended, ends.pop(ended), frozenset(ends))
        elif decision.until is not None and now.now < decision.until < horizon:
            now = replace(now, now=decision.until)
        else:
            return Forecast(steps=tuple(steps), end=decision, ends_at=now.now)


def _settled(candidate: Candidate) -> Candidate:
    """Return a load balancer as it will be once Octavia has done with it."""
    if not candidate.is_pending:
        return candidate
    load_balancer = replace(candidate.load_balancer, provisioning_status="ACTIVE")
    return replace(candidate, stale=replace(candidate.stale, load_balancer=load_balancer))


def _after(now: Situation, moved: str, at: datetime, in_flight: frozenset[str]) -> Situation:
    return replace(
        now,
        now=max(now.now, at),
        last_end=at,
        in_flight=in_flight,
        candidates=tuple(_moved(each, at) if each.id == moved else each for each in now.candidates),
    )


def _moved(candidate: Candidate, at: datetime) -> Candidate:
    amphorae = tuple(replace(each, created_at=at) for each in candidate.stale.amphorae)
    return replace(
        candidate,
        stale=replace(candidate.stale, amphorae=amphorae),
        due=None,
        doubt=None,
        moved=True,
    )
