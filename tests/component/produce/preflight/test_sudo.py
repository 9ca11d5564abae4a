"""The sudo that a build brings is tried as its elements call it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from retrofit.build import handover
from retrofit.errors import BuildError
from retrofit.produce.preflight import machine

# As sudo-rs does: -E is ignored, and nothing of the environment passes.
DROPS = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec env -i PATH="$PATH" "$@"
"""

pytestmark = pytest.mark.root


def test_the_one_of_ours_hands_settings_on() -> None:
    machine.check_sudo()


def test_no_thread_that_starts_a_program_keeps_it_from_running() -> None:
    written: list[Any] = []
    asked = True

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if asked and event == "open" and str(arguments[0]).endswith("/sudo"):
            path, _, flags = arguments
            if flags & os.O_ACCMODE:
                written.append(path)

    sys.addaudithook(listen)
    try:
        machine.check_sudo()
    finally:
        asked = False
    assert written == [], "what another thread starts meanwhile can write to it: ETXTBSY"


def test_one_that_drops_the_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sudo").write_text(DROPS)
    monkeypatch.setattr(handover, "SUDO", tmp_path / "sudo")
    with pytest.raises(BuildError, match="sudo drops the environment") as told:
        machine.check_sudo()
    assert told.value.hint


def test_the_machines_own_does_not_matter_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sudo").write_text(DROPS)
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setattr(machine, "SYSTEM_PATH", f"{tmp_path}:{machine.SYSTEM_PATH}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine.check_sudo()


def test_one_that_cannot_be_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sudo").write_text("#!/bin/bash\nexit 1\n")
    monkeypatch.setattr(handover, "SUDO", tmp_path / "sudo")
    with pytest.raises(BuildError, match="own sudo does not work"):
        machine.check_sudo()
    monkeypatch.setattr(handover, "SUDO", tmp_path / "missing")
    with pytest.raises(BuildError, match="cannot write the build's own sudo"):
        machine.check_sudo()
