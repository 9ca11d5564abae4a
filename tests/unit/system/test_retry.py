"""What may pass is tried again, so often and not more; what may not is not."""

from __future__ import annotations

from typing import Any

import pytest

from retrofit import patience
from retrofit.patience import Setback, first_line, pause, repeated, retry_after


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(patience, "sleep", waited.append)
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


def ask(request: Failing, *, retries: int = 2, judge: Any = None) -> str:
    return repeated(request, judge or (lambda _: Setback()), what="ask", retries=retries)


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
        ask(request, judge=lambda _: None)
    assert (request.asked, waits) == (1, [])
    assert first_line(raised.value) == "gone"


def test_an_interruption_is_no_setback(waits: list[float]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repeated(interrupted, lambda _: Setback(), what="ask", retries=5)
    assert waits == []


def test_waits_as_long_as_the_server_wishes_within_reason(waits: list[float]) -> None:
    assert ask(Failing(1), judge=lambda _: Setback(wait=17)) == "answer"
    assert waits == [17]
    with pytest.raises(ConnectionError):
        ask(Failing(1), judge=lambda _: Setback(wait=patience.LONGEST_WISH + 1))


def test_waits_grow_to_a_limit_and_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 1.0)
    for failures, most in ((1, 1.0), (2, 2.0), (4, 8.0), (30, patience.LONGEST_PAUSE)):
        drawn = {pause(failures, None) for _ in range(50)}
        assert most / 2 <= min(drawn) <= max(drawn) <= most
        assert len(drawn) > 5


@pytest.mark.parametrize(
    "said",
    [None, "", "soon", "-1", "1e9", "Fri, 31 Dec 1999 23:59:59 +99999999999999999999",
     "Fri, 31 Dec 1999 23:59:59 +9999", "Fri, 31 Dec 99999 23:59:59 GMT"],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_none(said: str | None) -> None:
    assert retry_after(said) is None


def test_a_wish_is_a_number_of_seconds_or_a_date() -> None:
    assert retry_after(" 17 ") == 17
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert (retry_after("Fri, 31 Dec 9999 23:59:59 GMT") or 0) > patience.LONGEST_WISH
