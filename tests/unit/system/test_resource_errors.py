"""A machine that is short of something is no bug of ours, and is told so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from retrofit.errors import BuildError, VerifyError
from retrofit.system.resource_errors import (
    SHORTAGES,
    resource_errors_as,
    resource_shortage,
    way_out,
)


@pytest.mark.parametrize("number", SHORTAGES)
def test_what_runs_short_is_said_with_a_way_out(number: int) -> None:
    error = OSError(number, os.strerror(number), "/var/lib/retrofit/x")
    match = "cannot build: /var/lib/retrofit/x: "
    with pytest.raises(BuildError, match=match) as told, resource_errors_as(BuildError, "build"):
        raise error
    assert told.value.hint
    assert told.value.__cause__ is error


def test_a_disk_that_is_full_is_such(tmp_path: Path) -> None:
    with (
        pytest.raises(BuildError, match="there is no space left"),
        resource_errors_as(BuildError, "build"),
    ):
        Path("/dev/full").write_text("x")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_memory_and_threads_are_such(error: Exception) -> None:
    match = "cannot build it: "
    with pytest.raises(BuildError, match=match), resource_errors_as(BuildError, lambda: "build it"):
        raise error


def test_what_is_made_of_a_lack_of_memory_is_one() -> None:
    told = KeyError("as a library has it")
    told.__context__ = MemoryError()
    of_cpython = SystemError("<built-in function x> error return without exception set")
    for error in (told, of_cpython):
        with (
            pytest.raises(BuildError, match="not enough memory"),
            resource_errors_as(BuildError, "build"),
        ):
            raise error


def test_what_is_told_already_stays_as_it_is() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(VerifyError, match="no room for the drive"),
        resource_errors_as(BuildError, "build"),
    ):
        raise VerifyError("no room for the drive") from full


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file"),
        OSError("of requests, without a number"),
        RuntimeError("dictionary changed size"),
        KeyError("x"),
    ],
)
def test_anything_else_stays_what_it_is(error: Exception) -> None:
    assert resource_shortage(error) is None
    with pytest.raises(type(error)) as told, resource_errors_as(BuildError, "build"):
        raise error
    assert told.value is error


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "run as root, or set paths.state"),
        (errno.ENOENT, "run as root, or set paths.state"),
        (errno.ENOSPC, SHORTAGES[errno.ENOSPC][1]),
        (errno.EROFS, SHORTAGES[errno.EROFS][1]),
    ],
)
def test_nobody_is_sent_to_root_for_space(number: int, hint: str) -> None:
    error = OSError(number, os.strerror(number), "/var/lib/retrofit/x")
    assert way_out(error, "paths.state") == hint
