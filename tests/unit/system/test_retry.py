"""What may pass is tried again, so often and not more; what may not is not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from retrofit.system import retry
from retrofit.system.retry import (
    Retryable,
    backoff,
    call_with_retries,
    first_line,
    retry_after,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(retry, "sleep", waited.append)
    return waited


class Failing:
    """A request that fails so often, and then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.left, self.asked = failures, 0
        self.error = error or ConnectionError("gone")

    def __call__(self) -> str:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "answer"


def ask(request: Failing, *, retries: int = 2, classify: Any = None) -> str:
    return call_with_retries(request, classify or (lambda _: Retryable()), retries=retries)


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_answers_once_the_setbacks_are_over(waits: list[float], failures: int) -> None:
    request = Failing(failures)
    assert ask(request) == "answer"
    assert request.asked == failures + 1
    assert len(waits) == failures


def test_gives_up_after_so_many_and_says_how_many(waits: list[float]) -> None:
    request = Failing(9)
    with pytest.raises(ConnectionError) as raised:
        ask(request)
    assert request.asked == 3
    assert first_line(raised.value) == "gone, tried 3 times"


def test_does_not_repeat_what_cannot_pass(waits: list[float]) -> None:
    request = Failing(1)
    with pytest.raises(ConnectionError) as raised:
        ask(request, classify=lambda _: None)
    assert (request.asked, waits) == (1, [])
    assert first_line(raised.value) == "gone"


def test_an_interruption_is_no_setback(waits: list[float]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_with_retries(interrupted, lambda _: Retryable(), retries=5)
    assert waits == []


def test_waits_as_long_as_the_server_wishes_within_reason(waits: list[float]) -> None:
    assert ask(Failing(1), classify=lambda _: Retryable(wait=17)) == "answer"
    assert waits == [17]
    with pytest.raises(ConnectionError):
        ask(Failing(1), classify=lambda _: Retryable(wait=retry.LONGEST_RETRY_AFTER + 1))


def test_counts_failures_anew_after_progress(waits: list[float]) -> None:
    request = Failing(5)
    progress = iter([False, True, False, True, False])
    answer = ask(request, retries=2, classify=lambda _: Retryable(progress=next(progress)))
    assert (answer, request.asked) == ("answer", 6)


def test_progress_without_end_ends(waits: list[float]) -> None:
    request = Failing(1000)
    with pytest.raises(ConnectionError):
        ask(request, classify=lambda _: Retryable(progress=True))
    assert request.asked == retry.MOST_ATTEMPTS


def test_starts_no_wait_that_would_end_too_late(waits: list[float]) -> None:
    request = Failing(1)
    with pytest.raises(ConnectionError):
        call_with_retries(
            request, lambda _: Retryable(wait=9), retries=3, until=time.monotonic() + 8
        )
    assert (request.asked, waits) == (1, [])


def test_logs_each_repetition_with_its_reason(waits: list[float]) -> None:
    with capture_logs() as logged:
        call_with_retries(Failing(1), lambda _: Retryable(wait=7), retries=2, request="ask")
    assert logged == [
        {"event": "trying again", "request": "ask", "reason": "gone", "wait": 7,
         "log_level": "warning"}
    ]  # fmt: skip


def test_waits_grow_to_a_limit_and_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_BACKOFF", 1.0)
    for failures, most in ((1, 1.0), (2, 2.0), (4, 8.0), (30, retry.LONGEST_BACKOFF)):
        drawn = {backoff(failures, None) for _ in range(50)}
        assert most / 2 <= min(drawn) <= max(drawn) <= most
        assert len(drawn) > 5


@pytest.mark.parametrize(
    "said",
    [None, "", "soon", "-1", "1e9", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_none(said: str | None) -> None:
    assert retry_after(said) is None


def test_a_wish_is_a_number_of_seconds_or_a_date() -> None:
    assert retry_after(" 17 ") == 17
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert retry_after("Fri, 31 Dec 1999 23:59:59 +99999999999999999999") == 0
    assert (retry_after("Fri, 31 Dec 9999 23:59:59 GMT") or 0) > retry.LONGEST_RETRY_AFTER
