"""The loop of a rollover: decide, ask anew, fail over, wait for what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from retrofit.cloud.failover import Asked
from retrofit.cloud.octavia_errors import DeniedError
from retrofit.config import RolloverSettings
from retrofit.fleet.rollover.candidates import Candidate, accepted_images
from retrofit.fleet.rollover.decision import (
    Halted,
    RolloverDecision,
    Situation,
    Step,
    Wait,
    decide,
    due_now,
)
from retrofit.fleet.rollover.record import Halt
from retrofit.fleet.rollover.settling import Flight, Result, Settled, settled
from retrofit.model import Amphora
from retrofit.operations.rollover.guard import ask_guard
from retrofit.operations.rollover.site import Site, StaleError
from retrofit.runs.report import Move, RunReport
from retrofit.runs.report_document import MoveOutcome
from retrofit.runs.who import this_person
from retrofit.system.progress import Progress
from retrofit.system.signals import uninterrupted

log = structlog.get_logger(__name__)

FIRST_LOOK = 0.5
LONGEST_LOOK = 10.0
"""Seconds between two looks at a failover: they double from the first to the longest."""
SHORT = timedelta(minutes=2)
"""Time until a wait without a known end looks again."""
LONG_LOOK = 600.0
"""Seconds after which a wait looks at everything anew."""


@dataclass(kw_only=True)
class _Flying:
    """A failover in flight, and when to look at it next (time.monotonic)."""

    flight: Flight
    began: float
    look_at: float
    pace: float = FIRST_LOOK
    rechecked: bool = False


@dataclass(kw_only=True)
class Rolling:
    """One rollover of one target, with the lock held.

    `wait` is whether to wait as long as it takes. `told` is called with the situation and what is
    to be known of it, whenever that changes.
    """

    site: Site
    report: RunReport
    progress: Progress
    wait: bool
    told: Callable[[Situation, RolloverDecision | None], None]
    sleep: Callable[[float], None] = time.sleep
    situation: Situation = field(init=False)
    _flying: dict[str, _Flying] = field(init=False, default_factory=dict)
    _last_end: datetime | None = field(init=False, default=None)
    _obstacle: str | None = field(init=False, default=None)
    _without_room: dict[str, str] = field(init=False, default_factory=dict)
    _moved: int = field(init=False, default=0)

    def run(self) -> RolloverDecision:
        """Go on until nothing is due, something has to be waited for, or a doubt halts it.

        Raises CloudError, PublishError, LockLostError: Octavia's amphorae tell the next rollover
        how far this one came.
        """
        self._observe()
        while True:
            self._adopt()
            decision = decide(self._now(), self._settings)
            if isinstance(decision, Halted) and decision.new:
                self._halt(decision)
            elif isinstance(decision, Step):
                self._try(decision)
            elif self._flying:
                self._look()
            elif isinstance(decision, Wait) and self._waits(decision):
                continue
            else:
                return decision

    @property
    def _settings(self) -> RolloverSettings:
        return self.site.target.rollover

    def _observe(self) -> None:
        """List everything, and have the record on the image that is promoted now."""
        self.situation = self.site.observe()
        self._without_room.clear()
        self.report.image_id = self.situation.promoted
        if self.site.promoted is not None:
            self.report.image_created_at = self.site.promoted.created_at
        record = self.situation.record
        if record is not None and due_now(self.situation.candidates):
            record = replace(record, ended=False)
            self.situation = replace(self.situation, record=record)
            self.site.write_record(record)
        self.told(self.situation, None)

    def _now(self) -> Situation:
        """Return the situation as it is now."""
        return replace(
            self.situation,
            now=self.site.now(),
            in_flight=frozenset(self._flying),
            last_end=self._last_end or self.situation.last_end,
            obstacle=self._obstacle or self.situation.obstacle,
            without_room=dict(self._without_room),
        )

    def _adopt(self) -> None:
        """Follow what fails over already: asked by a rollover that was killed, or by others."""
        for each in due_now(self.situation.candidates, self._flying):
            if each.is_pending:
                since = each.load_balancer.updated_at or self.site.now()
                self._follow(each, asked_at=min(since, self.site.now()), ours=False)

    def _try(self, step: Step) -> None:
        """Ask for everything anew; fail over where the decision is still the same."""
        candidate = step.candidate
        # It may take minutes where Nova hangs: before what must be so at the request.
        if self._settings.check_capacity:
            self._judge(candidate)
            known = self._still(candidate)
            if known is None or not self._has_room(known.candidate):
                return
        # What has gone wrong of those in flight is to be known before another one begins.
        for flying in tuple(self._flying.values()):
            self._look_at(flying)
        if any(each.rechecked for each in self._flying.values()):
            self._look()  # on another image than it may be: the next look tells
            return
        try:
            self.situation = self.site.look_again(self.situation, candidate)
        except StaleError:
            self._observe()
            return
        again = self._still(candidate)
        if again is None:
            return
        about = {
            "RETROFIT_LOAD_BALANCER": candidate.id,
            "RETROFIT_PROJECT": candidate.load_balancer.project_id,
        }
        self._obstacle = ask_guard(self._settings.guard, about)
        if self._obstacle is None:
            self._fail_over(again)

    def _still(self, candidate: Candidate) -> Step | None:
        """Return the step that moves a load balancer, where that is still the decision."""
        decision = decide(self._now(), self._settings)
        if isinstance(decision, Step) and decision.candidate.id == candidate.id:
            return decision
        return None

    def _has_room(self, candidate: Candidate) -> bool:
        """Ask whether the cloud has room for one more amphora; what is not known is noted."""
        room = self.site.room_for(candidate, in_flight=len(self._flying))
        for reason in room.unknown:
            note = f"capacity not known: {reason}"
            if note not in self.report.notes:
                self.report.notes.append(note)
                log.warning("capacity not known", reason=reason)
        if room.missing_for_all:
            self._obstacle = f"no room for another amphora: {'; '.join(room.missing_for_all)}"
        if room.missing:
            self._without_room[candidate.id] = "; ".join(room.missing)
            log.info("no room", load_balancer=candidate.id, lacks=self._without_room[candidate.id])
        return not (room.missing or room.missing_for_all)

    def _fail_over(self, step: Step) -> None:
        candidate = step.candidate
        talks = candidate.load_balancer.has_listeners and any(
            self.site.statistics(candidate.stale.amphorae).values()
        )
        try:
            with uninterrupted():  # what was asked for is followed
                asked = self.site.octavia.fail_over(candidate.id)
                if asked is Asked.ACCEPTED:
                    self._follow(candidate, asked_at=self.site.now(), ours=True, talks=talks)
        except DeniedError as error:
            self._failed(candidate, error.message, 0.0)
            self._halt(
                Halted(halt=None, reason=error.message, load_balancer=candidate.id, new=True)
            )
            return
        if asked is Asked.ACCEPTED:
            log.info(
                "failover requested",
                load_balancer=candidate.id,
                name=candidate.load_balancer.name,
                why=step.reason,
            )
            self.told(self._now(), None)
            return
        log.info("failover not possible now", load_balancer=candidate.id, octavia=str(asked))
        self._judge(candidate)
        if any(
            each.id == candidate.id and not each.is_pending for each in self.situation.candidates
        ):
            self._obstacle = f"Octavia answered that {candidate.name} is {asked}"

    def _follow(
        self, candidate: Candidate, *, asked_at: datetime, ours: bool, talks: bool = False
    ) -> None:
        flight = Flight(
            candidate=candidate,
            asked_at=asked_at,
            ours=ours,
            talks=talks,
            accepted=self._accepted(),
        )
        began = time.monotonic()
        self._flying[candidate.id] = _Flying(flight=flight, began=began, look_at=began + FIRST_LOOK)

    def _look(self) -> None:
        """Wait for the next look at a failover, and look."""
        flying = min(self._flying.values(), key=lambda each: each.look_at)
        self._show(flying.flight.candidate)
        self.sleep(max(0.0, flying.look_at - time.monotonic()))
        flying.pace = min(flying.pace * 2, LONGEST_LOOK)
        self._look_at(flying)

    def _look_at(self, flying: _Flying) -> None:
        candidate = flying.flight.candidate
        load_balancer = self.site.octavia.load_balancer(candidate.id)
        amphorae: tuple[Amphora, ...] = ()
        talking: Mapping[str, bool] = {}
        if load_balancer is not None and load_balancer.provisioning_status == "ACTIVE":
            amphorae = self.site.octavia.amphorae_of(candidate.id)
            if load_balancer.has_listeners and flying.flight.talks:
                talking = self.site.statistics(amphorae)
        found = settled(
            flying.flight,
            load_balancer,
            amphorae,
            talking,
            now=self.site.now(),
            timeout=timedelta(seconds=self._settings.settle_timeout),
        )
        if found.result is Result.PENDING:
            flying.look_at = time.monotonic() + flying.pace
        elif found.wrong_image and not flying.rechecked:
            # Another image may have been promoted between the request and Octavia's look at Glance.
            flying.rechecked = True
            self._observe()
            flying.flight = replace(
                flying.flight, accepted=flying.flight.accepted | self._accepted()
            )
        else:
            self._settle(flying, found)

    def _accepted(self) -> frozenset[str]:
        """Return the images that a failover may end on."""
        promoted, record = self.site.promoted, self.situation.record
        if promoted is None or record is None:
            return frozenset()
        return accepted_images(self.site.target, self.site.observed, promoted, record)

    def _settle(self, flying: _Flying, found: Settled) -> None:
        candidate = flying.flight.candidate
        seconds = round(time.monotonic() - flying.began, 1)
        del self._flying[candidate.id]
        if self._settings.at_a_time > 1:
            # There may have been room for fewer at a time, and no obstacle but that.
            self._obstacle = None
            self._without_room.clear()
        facts = {"load_balancer": candidate.id, "name": candidate.load_balancer.name}
        if found.result is Result.FAILED:
            self._failed(candidate, found.reason, seconds)
            return
        self._judge(candidate)
        if found.result is Result.MOVED and flying.flight.ours:
            self._last_end = self.site.now()
            self._moved += 1
            self._note(candidate, "moved", found.reason, seconds)
            log.info("load balancer moved", **facts, seconds=seconds, left=self._due())
        else:
            log.info("load balancer settled", **facts, result=str(found.result))
        self.told(self._now(), None)

    def _judge(self, candidate: Candidate) -> None:
        """Replace what is known of a load balancer by what Octavia shows."""
        try:
            self.situation = self.site.judged(self.situation, candidate)
        except StaleError:
            self._observe()

    def _failed(self, candidate: Candidate, reason: str, seconds: float) -> None:
        """Write a failure down before anything else is done: it leaves no trace in Octavia."""
        record = self.situation.record
        if record is None:
            return
        log.error("failover failed", load_balancer=candidate.id, reason=reason)
        self._note(candidate, "failed", reason, seconds)
        record = replace(record, failed={**record.failed, candidate.id: reason})
        self.situation = replace(self.situation, record=record)
        self.site.write_record(record)
        self._last_end = self.site.now()
        self._judge(candidate)
        self.told(self._now(), None)

    def _halt(self, decision: Halted) -> None:
        """Write the halt, so that every machine honours it."""
        halt = Halt(
            reason=decision.reason,
            since=self.site.now(),
            by=this_person(),
            load_balancer=decision.load_balancer,
        )
        self.site.write_halt(halt)
        self.situation = replace(self.situation, halt=halt)
        self.report.halted = True
        log.error("rollover halted", reason=decision.reason, load_balancer=decision.load_balancer)
        self.told(self._now(), None)

    def _waits(self, decision: Wait) -> bool:
        """Wait where that is short, or was asked for; return False where it is not."""
        self._obstacle = None
        now = self.site.now()
        if decision.until is None or not decision.short:
            if not self.wait:
                return False
            self.told(self._now(), decision)
            until = decision.until or now + SHORT
            self.progress(decision.reason, None)
            self.sleep(min(LONG_LOOK, max(1.0, (until - now).total_seconds())))
            self._observe()
            return True
        self.progress(decision.reason, None)
        self.sleep(max(0.05, (decision.until - now).total_seconds()))
        return True

    def _note(
        self, candidate: Candidate, outcome: MoveOutcome, reason: str, seconds: float
    ) -> None:
        self.report.moves.append(
            Move(
                id=candidate.id,
                name=candidate.load_balancer.name,
                outcome=outcome,
                reason=reason or candidate.due or "",
                seconds=seconds,
            )
        )

    def _due(self) -> int:
        return len(due_now(self.situation.candidates, self._flying))

    def _show(self, candidate: Candidate) -> None:
        left = self._due() + len(self._flying)
        total = self._moved + left
        self.progress(
            f"moving {candidate.load_balancer.name or candidate.id}, {left} to do",
            self._moved / total if total else None,
        )
