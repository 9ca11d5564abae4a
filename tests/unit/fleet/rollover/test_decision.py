"""The next thing that a rollover does: conditions, order, halts; by example and by property."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrofit.config import RolloverSettings
from retrofit.config.rollover import WindowSettings
from retrofit.fleet.rollover.candidates import Candidate, Doubt
from retrofit.fleet.rollover.decision import (
    Done,
    Halted,
    Situation,
    Step,
    Wait,
    cost,
    decide,
)
from retrofit.fleet.rollover.forecast import SINGLE_SECONDS, forecast
from retrofit.fleet.rollover.record import Halt, Record
from retrofit.fleet.rollover.windows import is_open
from retrofit.plan import Pause
from tests.unit.fleet.rollover.made import BEGAN, candidate, situation
from tests.unit.images import NOW

AT_ONCE = RolloverSettings(soak=0, canary_soak=0, pause=0, outages="always")
DOUBT = Doubt(reason="it is in ERROR", mark="ERROR")


def step_of(found: Situation, settings: RolloverSettings = AT_ONCE) -> str:
    decision = decide(found, settings)
    assert isinstance(decision, Step), decision
    return decision.candidate.id


def wait_of(found: Situation, settings: RolloverSettings = AT_ONCE) -> Wait:
    decision = decide(found, settings)
    assert isinstance(decision, Wait), decision
    return decision


def test_moves_what_costs_least_first() -> None:
    found = situation(candidate("a"), candidate("z", "pair"), candidate("b"))
    assert step_of(found) == "z"


def test_moves_canaries_before_pairs_and_waits_for_what_they_show() -> None:
    settings = AT_ONCE.model_copy(update={"canaries": ("c",), "canary_soak": 2})
    canary = candidate("c", canary=True)
    others = candidate("a", "pair"), candidate("b")
    assert step_of(situation(canary, *others), settings) == "c"
    moved = replace(
        candidate("c", canary=True, due=None, created_at=NOW - timedelta(hours=1)), moved=True
    )
    assert wait_of(situation(moved, *others), settings).until == NOW + timedelta(hours=1)
    soaked = replace(
        candidate("c", canary=True, due=None, created_at=NOW - timedelta(hours=2)), moved=True
    )
    assert step_of(situation(soaked, *others), settings) == "a"


AHEAD = NOW + timedelta(seconds=1)
"""A time that another machine's clock has written, or one before a fraction of it was cut off."""


def test_waits_of_zero_never_wait_whatever_the_clocks() -> None:
    settings = AT_ONCE.model_copy(update={"canaries": ("c",)})
    moved = replace(candidate("c", canary=True, due=None, created_at=AHEAD), moved=True)
    found = situation(moved, candidate("a"), soak_from=AHEAD, last_end=AHEAD)
    assert step_of(found, settings) == "a"


def test_a_clock_that_is_ahead_makes_no_wait_longer() -> None:
    settings = AT_ONCE.model_copy(update={"canaries": ("c",), "canary_soak": 2, "pause": 10})
    moved = replace(candidate("c", canary=True, due=None, created_at=AHEAD), moved=True)
    found = situation(moved, candidate("a"), last_end=AHEAD)
    assert wait_of(found, settings).until == NOW + timedelta(seconds=10)
    rested = replace(found, last_end=None)
    assert wait_of(rested, settings).until == NOW + timedelta(hours=2)
    soaking = settings.model_copy(update={"soak": 1})
    assert wait_of(replace(rested, soak_from=AHEAD), soaking).until == NOW + timedelta(hours=1)


def test_waits_where_no_canary_can_show_anything() -> None:
    settings = AT_ONCE.model_copy(update={"canaries": ("c",)})
    assert "no load balancer" in wait_of(situation(candidate("a")), settings).reason
    refused = candidate("c", canary=True, left="excluded by rollover.exclude")
    waits = wait_of(situation(refused, candidate("a")), settings)
    assert "excluded by rollover.exclude" in waits.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"promoted": None}, "no image"),
        ({"obstacle": "alert Quorum fires"}, "alert Quorum fires"),
        ({"pause": Pause(reason="Black Friday", since=NOW, by="eve")}, "Black Friday"),
        ({"soak_from": NOW - timedelta(minutes=59)}, "soak"),
        ({"last_end": NOW - timedelta(seconds=5)}, "rollover.pause"),
        ({"in_flight": frozenset({"x"})}, "Octavia works on"),
    ],
)
def test_waits_as_long_as_a_condition_is_missing(fields: dict[str, object], reason: str) -> None:
    settings = AT_ONCE.model_copy(update={"soak": 1, "pause": 10})
    assert step_of(situation(candidate("a")), settings) == "a"
    assert reason in wait_of(situation(candidate("a"), **fields), settings).reason


def test_a_failover_that_a_killed_rollover_asked_for_counts() -> None:
    pending = candidate("a", "pair", status="PENDING_UPDATE")
    assert wait_of(situation(pending, candidate("b"))).settling
    two = AT_ONCE.model_copy(update={"at_a_time": 2})
    assert step_of(situation(pending, candidate("b")), two) == "b"


def test_ends_when_nothing_is_due_and_names_what_stays() -> None:
    decision = decide(situation(candidate("a", due=None), candidate("b", left="excluded")), AT_ONCE)
    assert isinstance(decision, Done)
    assert [(each.id, each.reason) for each in decision.left] == [("b", "excluded")]


def test_halts_at_the_first_doubt_and_a_halt_stays() -> None:
    decision = decide(
        situation(candidate("a", due=None, moved=True, doubt=DOUBT), candidate("b")), AT_ONCE
    )
    assert isinstance(decision, Halted)
    assert (decision.new, decision.load_balancer) == (True, "a")
    halt = Halt(reason="it is in ERROR", since=NOW, by="host")
    again = decide(situation(candidate("b"), halt=halt), AT_ONCE)
    assert isinstance(again, Halted)
    assert not again.new


def test_as_many_may_fail_as_the_operator_allows_but_no_canary() -> None:
    settings = AT_ONCE.model_copy(update={"most_failures": 1, "canaries": ("c",)})
    moved = candidate("c", canary=True, due=None, moved=True)
    failed = Record(began_at=BEGAN, failed={"a": "timed out"})
    assert step_of(situation(moved, candidate("b"), record=failed), settings) == "b"
    doubted = candidate("d", doubt=DOUBT)
    both = situation(moved, candidate("b"), doubted, record=failed)
    assert isinstance(decide(both, settings), Halted)
    canary = candidate("c", canary=True, doubt=DOUBT)
    assert isinstance(decide(situation(canary, candidate("b")), settings), Halted)


def test_windows_that_allow_no_outage_let_pairs_move() -> None:
    noon = WindowSettings(start="0 11 * * *", outages=False)
    night = WindowSettings(start="0 1 * * *")
    settings = AT_ONCE.model_copy(update={"outages": "window", "windows": (noon, night)})
    assert step_of(situation(candidate("a"), candidate("b", "pair")), settings) == "b"
    waits = wait_of(situation(candidate("a")), settings)
    assert waits.until == NOW.replace(hour=1) + timedelta(days=1)
    nowhere = settings.model_copy(update={"windows": ()})
    assert wait_of(situation(candidate("a")), nowhere).until is None


def test_what_has_no_room_keeps_no_other_back_and_is_what_is_waited_for() -> None:
    lacks = {"p": "a subnet is full"}
    pair, single = candidate("p", "pair"), candidate("s")
    assert step_of(situation(pair, single, without_room=lacks)) == "s"
    # Outside of a window for outages the pair is what could move.
    never = AT_ONCE.model_copy(update={"outages": "window"})
    waits = wait_of(situation(pair, single, without_room=lacks), never)
    assert waits.reason == "no room for p (p): a subnet is full"
    assert waits.until is not None
    lacks = {"s": "a quota is full"}
    assert "no window" in wait_of(situation(single, without_room=lacks), never).reason
    assert "no room for s" in wait_of(situation(single, without_room=lacks)).reason


def test_the_schedule_has_times() -> None:
    window = WindowSettings(start="0 13 * * *", minutes=5)
    settings = AT_ONCE.model_copy(update={"windows": (window,), "pause": 30})
    names = [f"{number}" for number in range(5)]
    planned = forecast(situation(*(candidate(name) for name in names)), settings)
    assert [each.candidate.id for each in planned.steps] == names
    first = NOW.replace(hour=13)
    assert [each.at - first for each in planned.steps] == [
        *(timedelta(seconds=number * (SINGLE_SECONDS + 30)) for number in range(3)),
        *(timedelta(days=1, seconds=number * (SINGLE_SECONDS + 30)) for number in range(2)),
    ]
    assert isinstance(planned.end, Done)


names = st.sampled_from([f"lb-{number}" for number in range(12)])
candidates = st.builds(
    candidate,
    names,
    st.sampled_from(["single", "pair"]),
    status=st.sampled_from(["ACTIVE", "ACTIVE", "ERROR", "PENDING_UPDATE"]),
    due=st.sampled_from([None, "old", "old"]),
    left=st.sampled_from([None, None, "excluded"]),
    doubt=st.sampled_from([None, None, None, DOUBT]),
    moved=st.booleans(),
    canary=st.booleans(),
    created_at=st.datetimes(datetime(2026, 11, 20), datetime(2026, 11, 22)).map(
        lambda each: each.replace(tzinfo=NOW.tzinfo)
    ),
)
moments = st.integers(-7 * 1440, 7 * 1440).map(lambda minutes: NOW + timedelta(minutes=minutes))
windows = st.lists(
    st.builds(
        WindowSettings,
        start=st.sampled_from(["0 1 * * *", "30 11 * * mon-fri", "0 22 * * sat", "*/30 3 * * *"]),
        minutes=st.integers(1, 600),
        time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
        outages=st.booleans(),
    ),
    max_size=2,
).map(tuple)
settings_of = st.builds(
    RolloverSettings,
    at_a_time=st.integers(1, 3),
    soak=st.integers(0, 48),
    canaries=st.sampled_from([(), ("canary",)]),
    canary_soak=st.integers(0, 48),
    pause=st.integers(0, 600),
    most_failures=st.integers(0, 2),
    outages=st.sampled_from(["never", "window", "always"]),
    windows=windows,
)
situations = st.builds(
    Situation,
    now=moments,
    promoted=st.sampled_from(["promoted", "promoted", "promoted", None]),
    record=st.builds(
        Record,
        began_at=moments,
        failed=st.dictionaries(names, st.just("timed out"), max_size=2),
    ),
    halt=st.sampled_from([None, None, Halt(reason="no", since=NOW, by="host")]),
    pause=st.sampled_from([None, None, Pause(reason="no", since=NOW, by="eve")]),
    candidates=st.lists(candidates, max_size=12, unique_by=lambda each: each.id).map(tuple),
    in_flight=st.frozensets(names, max_size=2),
    soak_from=st.none() | moments,
    last_end=st.none() | moments,
    obstacle=st.sampled_from([None, None, "an alert fires"]),
)


@given(situations, settings_of)
def test_no_step_without_all_of_its_conditions(
    found: Situation, settings: RolloverSettings
) -> None:
    decision = decide(found, settings)
    if not isinstance(decision, Step):
        return
    moving = decision.candidate
    assert moving.due is not None
    assert moving.left is None
    assert not moving.is_pending
    assert moving.id not in found.in_flight
    assert (found.promoted, found.halt, found.pause, found.obstacle) == ("promoted", *[None] * 3)
    assert is_open(settings, found.now)
    assert is_open(settings, found.now, outage=moving.is_outage)
    if settings.outages == "never":
        assert not moving.is_outage
    if found.soak_from is not None:
        assert found.now >= min(found.now, found.soak_from) + timedelta(hours=settings.soak)
    if found.last_end is not None:
        assert found.now >= min(found.now, found.last_end) + timedelta(seconds=settings.pause)
    pending = {
        each.id for each in found.candidates if each.is_pending and each.due and not each.left
    }
    assert len(found.in_flight | pending) < settings.at_a_time
    failed = {each.id for each in found.candidates if each.doubt} - found.in_flight
    assert found.record is not None
    assert len(failed | found.record.failed.keys()) <= settings.most_failures
    if settings.canaries and not moving.canary:
        canaries = [each for each in found.candidates if each.canary]
        assert any(each.moved for each in canaries)
        assert all(each.left or not each.due for each in canaries)
        assert all(
            found.now >= min(found.now, each.moved_at) + timedelta(hours=settings.canary_soak)
            for each in canaries
            if each.moved
        )


@given(moments, windows, st.sampled_from(["never", "window", "always"]))
def test_a_step_is_inside_a_window_and_inside_a_window_there_is_a_step(
    now: datetime, windows: tuple[WindowSettings, ...], outages: str
) -> None:
    settings = AT_ONCE.model_copy(update={"windows": windows, "outages": outages})
    for kind in ("pair", "single"):
        found = situation(candidate("a", kind), now=now, soak_from=None)
        moves = isinstance(decide(found, settings), Step)
        outage = kind == "single"
        assert moves == (is_open(settings, now) and is_open(settings, now, outage=outage))


@given(situations, settings_of)
def test_a_step_moves_what_costs_least_of_all_that_may_be_moved(
    found: Situation, settings: RolloverSettings
) -> None:
    decision = decide(found, settings)
    if isinstance(decision, Step):
        assert all(
            cost(decision.candidate) <= cost(each)
            for each in found.candidates
            if isinstance(decide(replace(found, candidates=_only(found, each)), settings), Step)
        )


def _only(found: Situation, one: Candidate) -> tuple[Candidate, ...]:
    """The same without all others that are due."""
    return tuple(
        each if each.id == one.id else replace(each, due=None) for each in found.candidates
    )


@given(situations, settings_of)
def test_every_wait_with_an_end_ends(found: Situation, settings: RolloverSettings) -> None:
    decision = decide(found, settings)
    if isinstance(decision, Wait) and decision.until is not None:
        assert decision.until > found.now
