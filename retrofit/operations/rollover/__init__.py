"""Move running load balancers to the promoted image; preview that, and end a halt."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from retrofit.cloud.capacity import Room
from retrofit.cloud.octavia import Octavia
from retrofit.config import Settings, Target
from retrofit.errors import HaltedError
from retrofit.fleet.rollover.conclusion import undecided
from retrofit.fleet.rollover.decision import (
    Done,
    Halted,
    RolloverDecision,
    Situation,
    Wait,
    due_now,
    left,
)
from retrofit.fleet.rollover.forecast import Forecast, forecast
from retrofit.fleet.rollover.record import Halt, Record, record_on
from retrofit.lock.lock import Lock, rollover_held
from retrofit.lock.names import rollover_name
from retrofit.operations.rollover.rolling import Rolling
from retrofit.operations.rollover.site import Site
from retrofit.runner import note_action, run_action
from retrofit.runs.report import RunReport
from retrofit.runs.rollover import MOST_LEFT, LeftDocument, RolloverDocument, write_rollover
from retrofit.system.progress import Progress, silent
from retrofit.times import iso

QUIET_OUTCOMES = frozenset({"unchanged", "postponed", "locked"})
"""Outcomes that the history does not show unless something was moved."""


@dataclass(frozen=True, kw_only=True)
class RolloverPreview:
    """What a rollover of a target would do now, and when."""

    target: str
    situation: Situation
    forecast: Forecast
    room: Room
    """What the cloud lacks for the first failover."""

    @property
    def due(self) -> int:
        """Return the number of load balancers to move."""
        return len(due_now(self.situation.candidates))

    def as_dict(self) -> dict[str, Any]:
        """Return the schedule as JSON types; `left` is what stays, with the reasons."""
        planned, situation = self.forecast, self.situation
        return {
            "target": self.target,
            "image_id": situation.promoted,
            "steps": [
                {
                    "at": iso(each.at),
                    "id": each.candidate.id,
                    "name": each.candidate.load_balancer.name,
                    "project_id": each.candidate.load_balancer.project_id,
                    "outage": each.candidate.is_outage,
                    "canary": each.candidate.canary,
                    "reason": each.reason,
                }
                for each in planned.steps
            ],
            "end": self._end(),
            "ends_at": iso(planned.ends_at),
            "no_room": [*self.room.missing_for_all, *self.room.missing],
            "capacity_unknown": [*self.room.unknown],
            "left": [
                {"id": each.id, "name": each.name, "reason": each.reason}
                for each in left(situation.candidates)
            ],
        }

    def _end(self) -> str:
        end = self.forecast.end
        if isinstance(end, Halted):
            return f"halted: {end.reason}"
        if isinstance(end, Wait):
            return f"waits: {end.reason}"
        return f"done at {iso(self.forecast.ends_at)}"


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The halt of a target's rollover that was ended; None where there was none."""

    target: str
    was: Halt | None


def preview_rollover(target: Target, settings: Settings) -> RolloverPreview:
    """Return the schedule of a rollover. Nothing is changed, no lock is needed.

    Raises CloudError without Glance or Octavia.
    """
    site = Site.connect(target, settings)
    situation = site.observe()
    planned = forecast(situation, target.rollover)
    return RolloverPreview(
        target=target.name,
        situation=situation,
        forecast=planned,
        room=site.room_for(planned.steps[0].candidate) if planned.steps else Room(),
    )


def roll_over(
    target: Target,
    settings: Settings,
    *,
    wait: bool = False,
    reason: str | None = None,
    progress: Progress = silent,
) -> RunReport:
    """Move what is due, one failover after the other, until nothing is due or a doubt halts it.

    Without `wait` it ends, as `postponed`, where the next failover has to wait for a window, a soak
    or the guard. Failures are in the report.
    """

    def work(report: RunReport) -> None:
        site = Site.connect(target, settings)

        def told(situation: Situation, decision: RolloverDecision | None) -> None:
            write_rollover(settings.paths.state, target.name, _document(site, situation, decision))

        rolling = Rolling(site=site, report=report, progress=progress, wait=wait, told=told)
        with report.step("rollover"):
            decision = rolling.run()
        _conclude(site, rolling.situation, decision, report)

    return run_action(
        target,
        settings,
        "rollover",
        work,
        order=reason,
        lock=_lock(target, settings),
        keep=_is_to_be_kept,
    )


def resume_rollover(target: Target, settings: Settings) -> Resumption:
    """End the halt of a target's rollover: what failed is tried once more.

    What Octavia shows as doubtful now counts as seen. Raises CloudError, PublishError, LockedError.
    """
    with _lock(target, settings):
        site = Site.connect(target, settings)
        situation = site.observe()
        if situation.record is None:
            return Resumption(target=target.name, was=None)
        began = Record(
            began_at=situation.record.began_at, acknowledged=situation.record.acknowledged
        )
        seen = {each.id: each.doubt.mark for each in site.judge_all(began) if each.doubt}
        record = replace(began, acknowledged={**began.acknowledged, **seen})
        site.write_record(record)
        if situation.halt is not None:
            site.write_halt(None)
            note_action(
                target,
                settings,
                "rollover",
                outcome="resumed",
                why=f"was {situation.halt.phrase()}",
            )
        write_rollover(settings.paths.state, target.name, _document(site, site.situation(), None))
    return Resumption(target=target.name, was=situation.halt)


def _lock(target: Target, settings: Settings) -> AbstractContextManager[Lock]:
    """Return the lock of the rollovers of the cloud that Octavia is in."""

    def name() -> bytes:
        return rollover_name(Octavia.connect(target).place())

    return rollover_held(settings.lock, settings.paths.state, target.name, name)


def _conclude(
    site: Site, situation: Situation, decision: RolloverDecision, report: RunReport
) -> None:
    """Record how it ended: in the report, for the page, and on the promoted image."""
    stays = left(situation.candidates)
    report.notes += [f"left: {each.name or each.id}: {each.reason}" for each in stays[:MOST_LEFT]]
    write = partial(write_rollover, site.settings.paths.state, site.target.name)
    unknown = undecided(situation.candidates, site.observed.freshness)
    if isinstance(decision, Done) and unknown is not None and site.is_going_on():
        decision = Wait(reason=f"it is not known whether anything else lacks a fix: {unknown}")
    match decision:
        case Halted():
            write(_document(site, situation, decision))
            raise HaltedError(
                f"the rollover of target {site.target.name} is halted: {decision.reason}",
                hint="find the cause, then `retrofit rollover --resume`; a newer image ends the"
                " halt too",
            )
        case Wait():
            report.outcome = "postponed"
            until = f" until {decision.until:%Y-%m-%d %H:%M} UTC" if decision.until else ""
            report.reasons.append(f"waits{until}: {decision.reason}")
        case _:
            known = None if site.promoted is None else record_on(site.promoted)
            going_on = known is not None and not known.ended
            site.write_record(site.record_of_the_end(situation.record))
            report.outcome = "rolled_over" if going_on or report.moves else "unchanged"
            report.reasons.append(
                "nothing is due" if not stays else f"nothing else is due; {len(stays)} left"
            )
    write(_document(site, situation, decision))


def _document(
    site: Site, situation: Situation, decision: RolloverDecision | None
) -> RolloverDocument:
    stays = left(situation.candidates)
    reason, until = None, None
    state = "moving"
    if isinstance(decision, Halted) or situation.halt is not None:
        state = "halted"
        reason = situation.halt.phrase() if situation.halt is not None else None
    elif isinstance(decision, Wait):
        state, reason, until = "postponed", decision.reason, decision.until
    elif isinstance(decision, Done):
        state = "done"
    return RolloverDocument(
        state=state,
        at=site.now(),
        image_id=situation.promoted,
        load_balancers=len(situation.candidates),
        moved=sum(each.moved for each in situation.candidates),
        due=len(due_now(situation.candidates)),
        left=tuple(
            LeftDocument(id=each.id, name=each.name, reason=each.reason)
            for each in stays[:MOST_LEFT]
        ),
        left_count=len(stays),
        reason=reason,
        until=until,
        failing_over=tuple(sorted(situation.in_flight)),
    )


def _is_to_be_kept(report: RunReport) -> bool:
    """Return True if something happened; a timer that finds nothing to do fills no history."""
    if report.moves or report.halted:
        return True
    return report.outcome not in {*QUIET_OUTCOMES, "halted"}
