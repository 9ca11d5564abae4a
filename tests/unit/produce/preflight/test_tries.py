"""Tries run side by side, each within its own limit; the first failure is what a run ends with."""

from __future__ import annotations

import threading
import time

import pytest

from retrofit.errors import BuildError, CloudError, PublishError
from retrofit.produce.preflight import tries
from retrofit.produce.preflight.tries import DoubtError, Try, first_failure, run_tries


def fails(error: Exception) -> Try:
    def attempt() -> str:
        raise error

    return Try(name=type(error).__name__, attempt=attempt)


def works(name: str = "works") -> Try:
    return Try(name=name, attempt=lambda: "found")


def test_each_has_its_outcome_in_the_order_asked() -> None:
    found = run_tries(
        [works("a"), fails(CloudError("down", hint="start it"))],
        [fails(DoubtError("slow", hint="wait")), works("b")],
    )
    assert [(each.name, each.outcome, each.detail, each.hint) for each in found] == [
        ("a", "passed", "found", None),
        ("CloudError", "failed", "down", "start it"),
        ("DoubtError", "warned", "slow", "wait"),
        ("b", "passed", "found", None),
    ]


def test_the_first_failure_counts_and_a_warning_is_none() -> None:
    build, publish = BuildError("no tool"), PublishError("refused")
    found = run_tries([fails(DoubtError("slow"))], [fails(publish), fails(build)])
    assert first_failure(found) is publish
    assert first_failure(run_tries([works()], [fails(DoubtError("slow"))])) is None


def test_those_beside_run_at_a_time() -> None:
    gate = threading.Barrier(3, timeout=10)

    def attempt() -> str:
        gate.wait()
        return "met"

    beside = [Try(name=str(number), attempt=attempt) for number in range(3)]
    assert {each.detail for each in run_tries([], beside)} == {"met"}


@pytest.mark.parametrize("beside", [True, False])
def test_one_that_hangs_fails_at_its_limit_and_holds_up_no_other(beside: bool) -> None:
    over = threading.Event()

    def hang() -> str:
        over.wait(20)
        return "late"

    hanging = Try(name="slow", attempt=hang, limit=0.3, failure=CloudError, hint="see why")
    begun = time.monotonic()
    found = run_tries([works()], [hanging]) if beside else run_tries([hanging, works()])
    assert time.monotonic() - begun < 10
    over.set()
    failed = next(each for each in found if each.name == "slow")
    assert (failed.outcome, failed.detail) == ("failed", "slow: no result within 0.3 s")
    assert isinstance(failed.error, CloudError)
    assert failed.hint == "see why"


def test_a_bug_is_no_finding() -> None:
    for here, beside in (([fails(KeyError("x"))], []), ([], [fails(KeyError("x"))])):
        with pytest.raises(KeyError):
            run_tries(here, beside)


def test_a_thread_that_dies_without_an_answer_is_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tries, "_answer", lambda _each, _answers: None)
    begun = time.monotonic()
    with pytest.raises(MemoryError, match="without an answer"):
        run_tries([works()], [works("a"), works("b")])
    assert time.monotonic() - begun < 10


def test_what_a_machine_runs_short_of_is_no_finding() -> None:
    with pytest.raises(MemoryError):
        run_tries([], [fails(MemoryError())])
