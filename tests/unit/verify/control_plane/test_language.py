"""Questions to a booted image, and what its answers make of it."""

from __future__ import annotations

import pytest

from retrofit.control_plane.expectation import Expectation, findings
from retrofit.control_plane.releases import stated
from retrofit.model import Outcome
from retrofit.verify.checks import CheckFailedError, Record
from retrofit.verify.control_plane.language import add, ask_language, infer_language, read

EXPECTED = Expectation(plane=stated("16.0.1", "octavia.release"))


def test_answers_are_read_by_their_number() -> None:
    output = "== answer 0 0\nok\n== answer 1 1\n[NOTICE] x\n[ALERT] (1) : no such option\n"
    assert read(output, 2) == [None, "[ALERT] (1) : no such option"]


@pytest.mark.parametrize(
    "output", ["", "bash: unshare: not found", "== answer 0 0\n", "== answer 0 0\n== answer 2 0\n"]
)
def test_a_missing_answer_is_a_failed_check(output: str) -> None:
    with pytest.raises(CheckFailedError, match="configurations were answered"):
        read(output, 2)


def asked(refuse: str) -> Record:
    """Ask a machine whose programs refuse what the script holds in one place."""

    def answer(script: str, seconds: float) -> str:
        assert "unshare --net" in script
        assert seconds > 60
        count = len({text for each in EXPECTED.questions() for text in each.texts})
        return "".join(f"== answer {number} 0\n" for number in range(count))

    answers = ask_language(EXPECTED, answer, pem=b"PEM")
    assert set(answers.values()) == {None}
    answers = {text: "no" if refuse in text else None for text in answers}
    record = Record()
    add(findings(EXPECTED, answers, proven=True), record)
    return record


def test_an_image_that_takes_everything_passes() -> None:
    record = asked("nothing of that kind")
    assert {check.outcome for check in record.checks} == {Outcome.PASSED}


def test_an_image_that_refuses_a_kind_fails_the_check_of_its_name() -> None:
    record = asked("http-use-htx")
    failed = [check.name for check in record.checks if check.outcome is Outcome.FAILED]
    assert failed == ["haproxy-takes-2025.1-prometheus"]
    assert record.failed


def test_the_version_of_haproxy_alone_warns() -> None:
    record = Record()
    infer_language(EXPECTED, "3.0.11", record)
    assert {check.outcome for check in record.checks} == {Outcome.WARNED}
    assert "haproxy-takes-2025.1-http-monitor" in {check.name for check in record.checks}
    assert not record.failed


def test_an_image_without_a_known_haproxy_is_not_judged() -> None:
    record = Record()
    infer_language(EXPECTED, None, record)
    assert record.checks == []
