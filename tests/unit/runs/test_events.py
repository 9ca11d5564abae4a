from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.runs import events as run_events
from retrofit.runs.events import FILE, events, events_kept, keep_event


def test_events_pass_over_what_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"event": "a"}\n[]\n7\n\xff\n\n{"event": "b"}\n{"event": "c')
    assert [event["event"] for event in events(tmp_path)] == ["a", "b"]
    assert list(events(tmp_path / "nowhere")) == []


def test_events_without_end_are_cut_short_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_events, "LARGEST", 1000)
    with events_kept(tmp_path):
        for number in range(100):
            keep_event(None, "info", {"event": f"event {number}"})
    assert (tmp_path / FILE).stat().st_size < 1100
    told = [event["event"] for event in events(tmp_path)]
    assert told[0] == "event 0"
    assert told[-1] == "too many events, the rest is not kept"
    assert len(told) < 100
