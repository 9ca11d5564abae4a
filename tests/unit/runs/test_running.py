"""Which run a target's lock is of, where others go on beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrofit.runs import running

RUN, OTHER = "20261127T080000Z-00000001", "20261127T090000Z-00000002"


def begin(logs: Path, run_id: str, **facts: str) -> Path:
    directory = logs / run_id
    directory.mkdir()
    event = {"event": "step started", "target": "default", "step": "build", **facts}
    (directory / "events.jsonl").write_text(json.dumps(event) + "\n")
    return directory


@pytest.mark.parametrize("action", ["rollover", "promote"])
@pytest.mark.parametrize("own", [{"action": "run"}, {}], ids=["today", "0.1.0"])
def test_what_goes_on_beside_a_run_is_not_taken_for_it(
    action: str, own: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "holder", lambda _path: 7)
    other = begin(tmp_path, OTHER, action=action, step=action)
    found = running.running_run(tmp_path, tmp_path, "default", [other])
    assert found == running.RunningRun(pid=7)
    run = begin(tmp_path, RUN, **own)
    found = running.running_run(tmp_path, tmp_path, "default", [other, run])
    assert found is not None
    assert (found.run_id, found.doing) == (RUN, "build")
