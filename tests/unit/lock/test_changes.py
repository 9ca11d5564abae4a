"""The lock of changes is waited for as long as asked, whatever number of seconds that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import LockSettings
from retrofit.errors import LockedError
from retrofit.lock import lock


@pytest.mark.parametrize("wait", [0, 0.2, 0.7, 1])
def test_a_lock_that_is_held_ends_the_wait_with_its_own_error(
    wait: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slept: list[float] = []

    @contextmanager
    def busy(*_: Any, **_options: Any) -> Iterator[None]:
        raise LockedError("another run holds it")
        yield

    monkeypatch.setattr(lock, "_held_here", busy)
    monkeypatch.setattr(lock.time, "sleep", slept.append)
    with (
        pytest.raises(LockedError, match="another run"),
        lock.changes_held(LockSettings(), tmp_path, "default", lambda: b"name", wait=wait),
    ):
        pass
    assert wait <= sum(slept) < wait + lock.RETRY_AFTER
