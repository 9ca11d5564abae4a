from __future__ import annotations

import pytest

from retrofit import errors
from retrofit.errors import RetrofitError, SourceError, error_of
from retrofit.system import process

CODES = {
    "internal": 1, "config": 2, "cloud": 3, "source": 4, "build": 5, "verify": 6, "publish": 7,
    "halted": 8, "locked": 75, "lock-lost": 75, "interrupted": 130,
}  # fmt: skip


@pytest.mark.parametrize(("code", "exit_code"), CODES.items())
def test_an_error_of_a_record_is_of_the_class_it_had(code: str, exit_code: int) -> None:
    made = error_of(code, "what happened", hint="the way out")
    assert (made.code, made.exit_code) == (code, exit_code)
    assert (made.message, made.hint, str(made)) == ("what happened", "the way out", "what happened")


def test_a_failed_command_is_no_class_that_a_record_could_name() -> None:
    assert issubclass(process.CommandError, RetrofitError)
    assert type(error_of(process.CommandError.code, "what happened")) is RetrofitError


def test_an_error_that_no_version_knows_is_one_of_ours() -> None:
    made = error_of("of the future", "what happened")
    assert type(made) is RetrofitError
    assert (made.exit_code, made.hint) == (1, None)


def test_a_finer_error_comes_back_as_what_it_is_a_kind_of() -> None:
    assert type(error_of(errors.SourceVanishedError.code, "gone")) is SourceError


def test_every_class_has_its_own_code() -> None:
    classes = [kind for kind in RetrofitError.__subclasses__() if "code" in vars(kind)]
    codes = [kind.code for kind in classes]
    assert sorted([RetrofitError.code, *codes]) == sorted(CODES)
