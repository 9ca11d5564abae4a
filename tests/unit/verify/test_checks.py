"""The record of a verification's checks."""

from __future__ import annotations

import pytest

from retrofit.model import Outcome
from retrofit.verify.checks import CheckFailedError, NotApplicableError, Record


def fails() -> str:
    raise CheckFailedError("no answer")


def does_not_apply() -> str:
    raise NotApplicableError("this image has none")


def never() -> str:
    pytest.fail("a check whose need did not pass was run")


def test_a_check_whose_need_did_not_pass_is_skipped_and_names_it() -> None:
    record = Record()
    record.attempt("answers", fails)
    record.attempt("apparmor", does_not_apply)
    assert not record.attempt("heartbeat", never, needs=("answers",))
    assert not record.attempt("metrics", never, needs=("heartbeat",))
    assert not record.attempt("profile", never, needs=("apparmor",))
    assert not record.attempt("ssh", never, needs=("boot-complete",))
    assert [(check.name, check.outcome, check.detail) for check in record.checks[2:]] == [
        ("heartbeat", Outcome.SKIPPED, "skipped: answers failed"),
        ("metrics", Outcome.SKIPPED, "skipped: heartbeat was skipped"),
        ("profile", Outcome.SKIPPED, "skipped: apparmor was not applicable"),
        ("ssh", Outcome.SKIPPED, "skipped: boot-complete was not tried"),
    ]


def test_a_check_whose_need_passed_is_run() -> None:
    record = Record()
    assert record.attempt("answers", lambda: "200")
    assert record.attempt("heartbeat", lambda: "authentic", needs=("answers",))
    assert (record.outcome("heartbeat"), record.failed) == (Outcome.PASSED, False)
