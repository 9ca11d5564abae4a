"""What a person can do about a lock that another process of this machine holds."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from retrofit.config import LockSettings
from retrofit.errors import LockedError
from retrofit.lock import lock


@pytest.fixture(autouse=True)
def _taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy:
        def acquire(self, **_: object) -> bool:
            return False

    class Coordinator:
        def get_lock(self, _name: bytes) -> Busy:
            return Busy()

        def start(self, **_: object) -> None:
            pass

        def stop(self) -> None:
            pass

    monkeypatch.setattr(lock.coordination, "get_coordinator", lambda *_a, **_k: Coordinator())


def hint_of(stack: ExitStack, held: object) -> str:
    with pytest.raises(LockedError) as raised:
        stack.enter_context(held)  # type: ignore[arg-type]
    return raised.value.hint or ""


def test_cancel_is_named_where_it_ends_what_holds_the_lock(tmp_path: Path) -> None:
    settings = LockSettings()
    with ExitStack() as stack:
        run = lock.held(settings, tmp_path, "default")
        assert "`retrofit --target default cancel`" in hint_of(stack, run)
        rollover = lock.rollover_held(settings, tmp_path, "default", lambda: b"octavia")
        assert "cancel" not in hint_of(stack, rollover)
